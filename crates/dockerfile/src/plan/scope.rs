//! Variables that are set at a point of a stage, in the order in which a process gets them.

use std::collections::HashMap;

use crate::expand::Variables;

/// Names and values; a name that is set again moves to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    items: Vec<(String, String)>,
    /// Where each name stands: a stage takes over all variables of the one that it stands on.
    places: HashMap<String, usize>,
}

impl Scope {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some(at) = self.places.remove(name) {
            self.items.remove(at);
            self.places.values_mut().filter(|place| **place > at).for_each(|place| *place -= 1);
        }
        self.places.insert(name.to_owned(), self.items.len());
        self.items.push((name.to_owned(), value.to_owned()));
    }

    /// Sets many, one after the other.
    pub(super) fn set_all<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut new = Self::default();
        pairs.for_each(|(name, value)| new.set(name, value));
        self.items.retain(|(name, _)| !new.places.contains_key(name));
        self.items.append(&mut new.items);
        let places = self.items.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
        self.places = places.collect();
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.items.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn items(&self) -> &[(String, String)] {
        &self.items
    }
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|at| self.items[*at].1.as_str())
    }
}

/// A scope in which some names have another value.
pub(super) struct Masked<'a> {
    pub(super) scope: &'a Scope,
    pub(super) names: Vec<&'a str>,
}

impl Variables for Masked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if self.names.contains(&name) { Some("****") } else { self.scope.get(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stands_last() {
        let mut scope = Scope::default();
        scope.set("A", "1");
        scope.set("B", "2");
        scope.set("C", "4");
        scope.set("A", "3");
        assert_eq!(scope.names(), ["B", "C", "A"]);
        assert_eq!((scope.get("A"), scope.get("B"), scope.get("C")), (Some("3"), Some("2"), Some("4")));
        assert_eq!(scope.get("D"), None);
        scope.set_all([("B", "5"), ("D", "6"), ("B", "7")].into_iter());
        assert_eq!(scope.names(), ["C", "A", "D", "B"]);
        assert_eq!((scope.get("C"), scope.get("B")), (Some("4"), Some("7")));
    }
}
