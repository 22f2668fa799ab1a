//! Running a graph: what has no path between it runs side by side, the first failure stops the rest, and a panic is a
//! failure like others.
//!
//! The calling thread is the first worker. Others are started only when there is more to do at once than workers, so
//! that a chain of steps costs no thread at all.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

/// Runs a node, with the results of its inputs.
pub(crate) type Work<'a, T, E> = &'a (dyn Fn(usize, &[T]) -> Result<T, E> + Sync);

/// A graph to run: node by node, the nodes that it needs.
pub(crate) struct Graph<'a, T, E> {
    /// For each node, the nodes whose results it needs. Only nodes that stand before it.
    pub(crate) inputs: &'a [Vec<usize>],
    /// The results that are known already.
    pub(crate) known: Vec<Option<T>>,
    /// The nodes that are wanted. What none of them needs is not run.
    pub(crate) wanted: Vec<usize>,
    /// How many nodes may run at once: at least 1.
    pub(crate) jobs: usize,
    /// Runs a node, with the results of its inputs.
    pub(crate) work: Work<'a, T, E>,
    /// Asks the nodes that are running to stop. Called once, at the first failure.
    pub(crate) stop: &'a (dyn Fn() + Sync),
    /// Makes a failure of what a panic said.
    pub(crate) panicked: &'a (dyn Fn(usize, String) -> E + Sync),
}

struct State<T, E> {
    results: Vec<Option<T>>,
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
    unfinished: usize,
    workers: usize,
    idle: usize,
    failure: Option<E>,
}

struct Shared<'a, T, E> {
    graph: Graph<'a, T, E>,
    users: Vec<Vec<usize>>,
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

impl<T: Clone + Send + Sync, E: Send> Graph<'_, T, E> {
    /// Runs all that is wanted, and gives the results of what was run or known.
    ///
    /// # Errors
    /// The first failure, when all that was running has ended.
    pub(crate) fn run(mut self) -> Result<Vec<Option<T>>, E> {
        let known = std::mem::take(&mut self.known);
        let needed = self.needed(&known);
        let mut users = vec![Vec::new(); self.inputs.len()];
        let mut missing = vec![0; self.inputs.len()];
        for &node in &needed {
            for &input in self.inputs[node].iter().filter(|input| known[**input].is_none()) {
                users[input].push(node);
                missing[node] += 1;
            }
        }
        let ready: BTreeSet<usize> = needed.iter().copied().filter(|node| missing[*node] == 0).collect();
        let unfinished = needed.len();
        let state = State { results: known, missing, ready, unfinished, workers: 1, idle: 0, failure: None };
        let shared = Shared { graph: self, users, state: Mutex::new(state), changed: Condvar::new() };
        std::thread::scope(|scope| shared.work(scope));
        let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(failure) => Err(failure),
            None => Ok(state.results),
        }
    }

    /// The nodes without a result that the wanted ones need.
    fn needed(&self, known: &[Option<T>]) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = self.wanted.clone();
        while let Some(node) = open.pop() {
            if known[node].is_none() && needed.insert(node) {
                open.extend(&self.inputs[node]);
            }
        }
        needed
    }
}

impl<T: Clone + Send + Sync, E: Send> Shared<'_, T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes nodes until none is left or something has failed.
    fn work<'scope, 'env>(&'env self, scope: &'scope Scope<'scope, 'env>) {
        let mut state = self.lock();
        loop {
            if state.unfinished == 0 || state.failure.is_some() {
                break;
            }
            let Some(node) = state.ready.pop_first() else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            if !state.ready.is_empty() && state.idle == 0 && state.workers < self.graph.jobs {
                state.workers += 1;
                scope.spawn(move || self.work(scope));
            }
            let inputs: Vec<T> = self.graph.inputs[node]
                .iter()
                .map(|input| state.results[*input].clone().expect("a node is ready when its inputs are done"))
                .collect();
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| (self.graph.work)(node, &inputs)))
                .unwrap_or_else(|panic| Err((self.graph.panicked)(node, panic_text(&*panic))));
            state = self.lock();
            self.finish(&mut state, node, result);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn finish(&self, state: &mut State<T, E>, node: usize, result: Result<T, E>) {
        state.unfinished -= 1;
        match result {
            Ok(result) => {
                state.results[node] = Some(result);
                for &user in &self.users[node] {
                    state.missing[user] -= 1;
                    if state.missing[user] == 0 {
                        state.ready.insert(user);
                    }
                }
            }
            Err(failure) if state.failure.is_none() => {
                state.failure = Some(failure);
                (self.graph.stop)();
            }
            // what fails after the first failure was most likely stopped because of it
            Err(_) => {}
        }
        self.changed.notify_all();
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    type Work<'a> = super::Work<'a, u64, String>;

    fn run(inputs: &[Vec<usize>], jobs: usize, work: Work<'_>) -> Result<Vec<Option<u64>>, String> {
        run_known(inputs, vec![None; inputs.len()], jobs, work)
    }

    fn run_known(
        inputs: &[Vec<usize>],
        known: Vec<Option<u64>>,
        jobs: usize,
        work: Work<'_>,
    ) -> Result<Vec<Option<u64>>, String> {
        let wanted = vec![inputs.len() - 1];
        let panicked = |node: usize, text: String| format!("{node} panicked: {text}");
        Graph { inputs, known, wanted, jobs, work, stop: &|| {}, panicked: &panicked }.run()
    }

    #[test]
    fn independent_nodes_meet() {
        let barrier = Barrier::new(3);
        let inputs = [vec![], vec![], vec![], vec![0, 1, 2]];
        let work = |node: usize, inputs: &[u64]| {
            if node < 3 {
                barrier.wait();
                return Ok(1);
            }
            Ok(inputs.iter().sum())
        };
        assert_eq!(run(&inputs, 3, &work).unwrap()[3], Some(3));
    }

    #[test]
    fn what_is_known_or_not_wanted_is_not_run() {
        let runs = AtomicUsize::new(0);
        let work = |_: usize, inputs: &[u64]| {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(inputs.iter().sum::<u64>() + 1)
        };
        let inputs = [vec![], vec![0], vec![], vec![1]];
        let results = run_known(&inputs, vec![None, Some(10), None, None], 4, &work).unwrap();
        assert_eq!(results, [None, Some(10), None, Some(11)]);
        assert_eq!(runs.into_inner(), 1);
    }

    #[test]
    fn the_first_failure_stops_the_rest() {
        let stopped = AtomicBool::new(false);
        let started = Barrier::new(2);
        let work = |node: usize, _: &[u64]| match node {
            0 => {
                started.wait();
                Err("zero".to_owned())
            }
            1 => {
                started.wait();
                while !stopped.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Err("stopped".to_owned())
            }
            _ => panic!("must not run"),
        };
        let inputs = [vec![], vec![], vec![0, 1]];
        let graph = Graph {
            inputs: &inputs,
            known: vec![None; 3],
            wanted: vec![2],
            jobs: 2,
            work: &work,
            stop: &|| stopped.store(true, Ordering::SeqCst),
            panicked: &|_, text| text,
        };
        assert_eq!(graph.run(), Err("zero".to_owned()));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let work = |_: usize, _: &[u64]| panic!("ouch");
        assert_eq!(run(&[vec![]], 1, &work), Err("0 panicked: ouch".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_number_of_jobs_gives_the_same(
            edges in proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..3), 1..20),
            jobs in 1..5usize,
        ) {
            let inputs: Vec<Vec<usize>> = edges.iter().enumerate()
                .map(|(node, list)| if node == 0 { vec![] } else { list.iter().map(|index| index.index(node)).collect() })
                .collect();
            let work = |node: usize, inputs: &[u64]| {
                Ok(inputs.iter().fold(node as u64, |sum, input| sum.wrapping_mul(31).wrapping_add(*input)))
            };
            prop_assert_eq!(run(&inputs, jobs, &work), run(&inputs, 1, &work));
        }
    }
}
