//! What names of images and contexts mean for a request.

use std::collections::BTreeMap;

use lighter_image::{Platform, Reference};

use super::{BaseNeed, NamedContext, Request};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::suggest::{did_you_mean, nearest};

const COMMON_IMAGES: &[&str] = &[
    "scratch", "alpine", "busybox", "centos", "debian", "fedora", "golang", "nginx", "node", "python",
    "rust", "ubuntu",
];

/// Something outside of the file.
#[derive(Debug, Clone)]
pub(super) enum Outside {
    /// An image, and the named context that it comes by.
    Image(Box<BaseNeed>, Option<String>),
    /// A named context of files.
    Files(String),
    /// A stage, by a named context.
    Stage(String),
    /// `scratch`.
    Empty,
}

/// What a name means, or the name and why it means nothing.
pub(super) type Meant = Result<Outside, (String, Diagnostic)>;

/// The named contexts of a request, by their short names.
pub(super) struct Names<'a> {
    contexts: BTreeMap<String, (&'a str, &'a NamedContext)>,
    platform: &'a Platform,
}

impl<'a> Names<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let contexts = request.named_contexts.iter().map(|(name, context)| {
            let (plain, platform) = match name.split_once("::") {
                Some((plain, platform)) => (plain, Some(platform)),
                None => (name.as_str(), None),
            };
            let short = short_name(plain).unwrap_or_else(|| plain.to_owned());
            let key = platform.map_or_else(|| short.clone(), |platform| format!("{short}::{platform}"));
            (key, (name.as_str(), context))
        });
        Self { contexts: contexts.collect(), platform: &request.platform }
    }

    /// The named context that a name means, if there is one.
    pub(super) fn context(&self, name: &str, platform: Option<&Platform>, span: Span) -> Option<Outside> {
        if self.contexts.is_empty()
            || ["scratch", "context"].iter().any(|word| name.eq_ignore_ascii_case(word))
        {
            return None;
        }
        let platform = platform.unwrap_or(self.platform);
        let short = short_name(name)?;
        let found = self.contexts.get(&format!("{short}::{platform}")).or_else(|| self.contexts.get(&short));
        let &(key, context) = found?;
        Some(match context {
            NamedContext::Files => Outside::Files(key.to_owned()),
            NamedContext::Stage(stage) => Outside::Stage(stage.clone()),
            NamedContext::Image(image) if image == "scratch" => Outside::Empty,
            NamedContext::Image(image) => {
                let reference = match image.parse::<Reference>() {
                    Ok(reference) => reference.with_default_tag().to_string(),
                    Err(_) => image.clone(),
                };
                let need = BaseNeed {
                    reference,
                    platform: platform.clone(),
                    written: name.to_owned(),
                    span,
                    help: None,
                };
                Outside::Image(Box::new(need), Some(key.to_owned()))
            }
        })
    }

    /// What a name means that is no stage's.
    pub(super) fn outside(&self, name: &str, platform: Option<&Platform>, span: Span) -> Meant {
        if name == "scratch" {
            return Ok(Outside::Empty);
        }
        let reference = name.parse::<Reference>().map_err(|error| {
            let message = format!("failed to parse stage name {name:?}: {error}");
            (name.to_owned(), Diagnostic::error(Code::ImageName, span, message))
        })?;
        if let Some(context) = self.context(name, platform, span) {
            return Ok(context);
        }
        let need = BaseNeed {
            reference: reference.with_default_tag().to_string(),
            platform: platform.unwrap_or(self.platform).clone(),
            written: name.to_owned(),
            span,
            help: None,
        };
        Ok(Outside::Image(Box::new(need), None))
    }
}

/// A name as people write it, without the default tag; `None` where it cannot be one of an image.
fn short_name(name: &str) -> Option<String> {
    let familiar = name.parse::<Reference>().ok()?.familiar();
    Some(familiar.strip_suffix(":latest").map(str::to_owned).unwrap_or(familiar))
}

/// The nearest stage or well-known image.
pub(super) fn suggestion(name: &str, stages: &[&str]) -> Option<String> {
    if COMMON_IMAGES.contains(&name) {
        return None;
    }
    let options = stages.iter().copied().chain(COMMON_IMAGES.iter().copied());
    let near = nearest(name, options.clone(), true);
    // of one name in another case it is the case that is wrong
    let folded = name.to_lowercase();
    let same = options.clone().find(|option| *option == folded && folded != name).map(str::to_owned);
    did_you_mean(same.or(near))
}
