//! How steps are shown: `[build 2/5] RUN make`.

use lighter_image::Platform;

use super::scope::Scope;
use crate::expand::{Lexer, Variables};

/// Counts the steps of a stage.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) stage: String,
    pub(super) total: usize,
    pub(super) index: usize,
    /// Shown where several platforms are built.
    pub(super) platform: Option<Platform>,
}

impl Counter {
    /// The next step's name.
    pub(super) fn next(&mut self, text: &str, is_trigger: bool, scope: Option<&Scope>) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.index += 1;
        let mut name = "[".to_owned();
        if let Some(platform) = &self.platform {
            name.push_str(&platform.to_string());
            if let Some(target) = scope.and_then(target_of) {
                name.push_str(&crossing(platform, &target));
            }
            name.push(' ');
        }
        if !self.stage.is_empty() {
            name.push_str(&self.stage);
            name.push(' ');
        }
        let width = self.total.to_string().len();
        let trigger = if is_trigger { "ONBUILD " } else { "" };
        format!("{name}{:>width$}/{}] {trigger}{text}", self.index, self.total)
    }
}

/// The platform that the stage's variables speak of.
fn target_of(scope: &Scope) -> Option<Platform> {
    if let Some(text) = scope.get("TARGETPLATFORM") {
        return text.parse().ok();
    }
    let part = |name| scope.get(name).unwrap_or_default();
    let any = ["TARGETOS", "TARGETARCH", "TARGETVARIANT"].iter().any(|name| scope.get(name).is_some());
    any.then(|| Platform::new(part("TARGETOS"), part("TARGETARCH"), Some(part("TARGETVARIANT"))))
}

fn crossing(base: &Platform, target: &Platform) -> String {
    let os = if target.os.is_empty() { &base.os } else { &target.os };
    let architecture = if target.architecture.is_empty() { &base.architecture } else { &target.architecture };
    let target = Platform::new(os, architecture, target.variant.as_deref());
    if target.os != base.os {
        return format!("->{target}");
    }
    if target.architecture == base.architecture {
        return String::new();
    }
    match &target.variant {
        Some(variant) => format!("->{}/{variant}", target.architecture),
        None => format!("->{}", target.architecture),
    }
}

/// The text with its variables, its first word in capitals. A text that cannot be expanded stays as it is.
pub(super) fn shown(lexer: Lexer, text: &str, variables: &dyn Variables) -> String {
    let text = lexer.expand(text, variables).map_or_else(|_| text.to_owned(), |expanded| expanded.text);
    match text.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", first.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// The first line of a here-document, with dots where there are more.
pub(super) fn summary(content: &str) -> String {
    let mut lines = content.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first}...") } else { first.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned() {
        let mut counter = Counter { stage: "b".into(), total: 10, index: 0, platform: None };
        assert_eq!(counter.next("RUN x", false, None), "[b  1/10] RUN x");
        counter.stage.clear();
        assert_eq!(counter.next("RUN x", true, None), "[ 2/10] ONBUILD RUN x");
        counter.total = 0;
        assert_eq!(counter.next("FROM x", false, None), "FROM x");
    }

    #[test]
    fn crossing_platforms() {
        let mut scope = Scope::default();
        scope.set("TARGETPLATFORM", "linux/arm64");
        let platform = Some(Platform::new("linux", "amd64", None));
        let mut counter = Counter { stage: "b".into(), total: 2, index: 0, platform };
        assert_eq!(counter.next("RUN x", false, Some(&scope)), "[linux/amd64->arm64 b 1/2] RUN x");
        assert_eq!(counter.next("RUN x", false, Some(&Scope::default())), "[linux/amd64 b 2/2] RUN x");
    }

    #[test]
    fn first_words_and_summaries() {
        assert_eq!(shown(Lexer::new('\\'), "copy $A b", &Scope::default()), "COPY  b");
        assert_eq!(summary("\n a\nb\n"), "a...");
        assert_eq!(summary("a\n"), "a");
    }
}
