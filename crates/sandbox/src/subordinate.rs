//! Subordinate ids: which ranges of ids an administrator has given to a user.

/// Ids from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// Ranges of one user, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranges(pub(crate) Vec<Range>);

/// Reads the ranges of a user from `/etc/subuid` or `/etc/subgid`; none if he has none.
pub(crate) fn ranges_of(uid: u32, file: &str) -> Option<Ranges> {
    let name = name_of(uid, &std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    parse(&std::fs::read_to_string(file).ok()?, uid, name.as_deref())
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

pub(crate) fn parse(text: &str, uid: u32, name: Option<&str>) -> Option<Ranges> {
    let ranges: Vec<Range> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            if Some(owner) != name && owner.parse() != Ok(uid) {
                return None;
            }
            let first = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok().filter(|count| *count > 0)?;
            Some(Range { first, count })
        })
        .collect();
    (!ranges.is_empty()).then_some(Ranges(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "alice:100000:65536\n1000:300000:10\nbob:1:0\nbroken\n# note\n";
        let check = |uid: u32, name: Option<&str>, expected: &[(u64, u64)]| {
            let found = parse(text, uid, name)
                .map(|ranges| ranges.0.iter().map(|range| (range.first, range.count)).collect::<Vec<_>>());
            let expected = (!expected.is_empty()).then(|| expected.to_vec());
            assert_eq!(found, expected, "{uid} {name:?}");
        };
        check(1000, Some("alice"), &[(100_000, 65_536), (300_000, 10)]);
        check(1000, None, &[(300_000, 10)]);
        check(1001, Some("bob"), &[]);
        check(5, Some("carol"), &[]);
    }

    #[test]
    fn names_are_looked_up_by_number() {
        let passwd = "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("alice"));
        assert_eq!(name_of(1001, passwd), None);
    }
}
