//! Of all steps those that the result needs.

use super::{Files, Op, Step, StepId};

/// Which steps the result needs, and their new places.
pub(super) struct Kept {
    places: Vec<Option<StepId>>,
}

impl Kept {
    pub(super) fn new(steps: &[Step], result: Option<StepId>) -> Self {
        let mut needed = vec![false; steps.len()];
        if let Some(id) = result {
            needed[id.index()] = true;
        }
        for step in steps.iter().rev() {
            if needed[step.id.index()] {
                for input in step.inputs() {
                    needed[input.index()] = true;
                }
            }
        }
        let mut next = 0;
        let places = needed.into_iter().map(|needed| {
            needed.then(|| {
                next += 1;
                StepId(next - 1)
            })
        });
        Self { places: places.collect() }
    }

    pub(super) fn renumbered(&self, id: StepId) -> StepId {
        self.places[id.index()].unwrap_or(id)
    }

    pub(super) fn steps(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut kept = Vec::new();
        for mut step in steps {
            let Some(id) = self.places[step.id.index()] else { continue };
            step.id = id;
            step.parent = step.parent.map(|parent| self.renumbered(parent));
            match &mut step.op {
                Op::Image(_) | Op::Workdir(_) => {}
                Op::Run(run) => {
                    for mount in &mut run.mounts {
                        if let Some(Files::Step(id)) = mount.kind.files_mut() {
                            *id = self.renumbered(*id);
                        }
                    }
                }
                Op::Copy(copy) => {
                    if let Files::Step(id) = &mut copy.from {
                        *id = self.renumbered(*id);
                    }
                }
            }
            kept.push(step);
        }
        kept
    }
}
