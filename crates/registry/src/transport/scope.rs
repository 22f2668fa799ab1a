//! Scopes: what a token allows.

use std::collections::BTreeSet;

/// A set of things that a token should allow, in a fixed order, so that equal sets are equal keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Nothing but to be known.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// To read a repository.
    pub(crate) fn pull(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull")]))
    }

    /// To read and write a repository.
    pub(crate) fn push(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull,push")]))
    }

    /// All of both.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Adds what a server says it needs; words that are covered already add nothing.
    pub(crate) fn add(&mut self, scope: &str) {
        for word in scope.split_ascii_whitespace().take(16) {
            if !self.0.iter().any(|own| covers(own, word)) {
                self.0.insert(word.to_owned());
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Whether one scope allows all that another one does.
fn covers(own: &str, other: &str) -> bool {
    match (own.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((what, actions)), Some((other_what, other_actions))) => {
            let has = |action: &str| actions.split(',').any(|own| own == action || own == "*");
            what == other_what && other_actions.split(',').all(has)
        }
        _ => own == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut scopes: Scopes, added: &str, expected: &[&str]) {
        scopes.add(added);
        assert_eq!(scopes.iter().collect::<Vec<_>>(), expected, "{added}");
    }

    #[test]
    fn what_is_covered_is_not_asked_twice() {
        check(Scopes::push("a"), "repository:a:pull", &["repository:a:pull,push"]);
        check(Scopes::push("a"), "repository:a:push,pull", &["repository:a:pull,push"]);
        check(Scopes::pull("a"), "repository:b:pull", &["repository:a:pull", "repository:b:pull"]);
        check(Scopes::none(), "registry:catalog:*", &["registry:catalog:*"]);
    }
}
