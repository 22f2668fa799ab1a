//! Users and groups by the image's own files: for USER, and for `--chown`.
//!
//! # Source
//! passwd(5) and group(5); which group counts when is Docker's choice.

use lighter_sandbox::User;

/// The text of an image's `/etc/passwd` and `/etc/group`, where it has them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// `/etc/group`.
    pub group: Option<Vec<u8>>,
}

/// Why a name stands for no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No account has the name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No group has the name.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that stands for nobody.
    #[error("uids and gids must be in range 0-{MAX_ID}")]
    OutOfRange,
    /// A name needs the image's passwd file.
    #[error("user {0} cannot be looked up: the image has no /etc/passwd")]
    NoPasswdFile(String),
    /// A name needs the image's group file.
    #[error("group {0} cannot be looked up: the image has no /etc/group")]
    NoGroupFile(String),
}

/// The highest number that a process may be given.
const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// A line of passwd.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of group.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl Group<'_> {
    fn has(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)
    }
}

impl Accounts {
    fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        lines(self.passwd.as_deref()).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _password) = (fields.next()?, fields.next());
            let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
            let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
            Some(Account { name, uid, gid, home })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        lines(self.group.as_deref()).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _password) = (fields.next()?, fields.next());
            Some(Group { name, gid: number(fields.next()?)?, members: fields.next().unwrap_or_default() })
        })
    }

    /// Who a process of `USER spec` is: an account's groups come along, unless a group is named.
    ///
    /// # Errors
    /// [`UserError`], where a name is nobody's.
    pub fn process_user(&self, spec: &str) -> Result<User, UserError> {
        let (user, group) = split(spec);
        let wanted = number(user.as_bytes());
        let matches = |account: &Account<'_>| match wanted {
            _ if user.is_empty() => account.uid == 0,
            Some(uid) => account.uid == uid,
            None => account.name == user.as_bytes(),
        };
        let account = self.accounts().find(matches);
        let (uid, own_gid) = match (&account, wanted) {
            (Some(account), _) => (account.uid, account.gid),
            (None, Some(uid)) => (uid, 0),
            (None, None) if user.is_empty() => (0, 0),
            (None, None) if is_integer(user) => return Err(UserError::OutOfRange),
            (None, None) => return Err(UserError::NoUser(user.to_owned())),
        };
        let gid = match group {
            None => own_gid,
            Some(group) => match self.group_id(group) {
                Some(gid) => gid,
                None if is_integer(group) => return Err(UserError::OutOfRange),
                None => return Err(UserError::NoGroup(group.to_owned())),
            },
        };
        if uid.max(gid) > MAX_ID {
            return Err(UserError::OutOfRange);
        }
        let mut groups = vec![gid];
        if let (None, Some(account)) = (group, &account) {
            for other in self.groups().filter(|group| group.has(account.name)) {
                if !groups.contains(&other.gid) {
                    groups.push(other.gid);
                }
            }
        }
        Ok(User { uid, gid, groups })
    }

    /// `HOME` of a user: `/` where nothing is known of it.
    pub fn home(&self, uid: u32) -> String {
        let home = self.accounts().find(|account| account.uid == uid).map(|account| account.home);
        match home {
            Some(home) if !home.is_empty() => String::from_utf8_lossy(home).into_owned(),
            _ => "/".to_owned(),
        }
    }

    /// Who owns what `--chown=spec` copies: an unknown name is 0, a name that cannot be looked up an error.
    ///
    /// An unknown group is that of the user.
    pub(crate) fn owner(&self, spec: &str) -> Result<(u32, u32), UserError> {
        let (user, group) = owner_parts(spec);
        let (uid, own_gid) = match owner_number(user) {
            Some(uid) => (uid, uid),
            None if self.passwd.is_none() => return Err(UserError::NoPasswdFile(user.to_owned())),
            None => self
                .accounts()
                .find(|account| account.name == user.as_bytes())
                .map_or((0, 0), |account| (account.uid, account.gid)),
        };
        let gid = match group {
            None => own_gid,
            Some(group) => match owner_number(group) {
                Some(gid) => gid,
                None if self.group.is_none() => return Err(UserError::NoGroupFile(group.to_owned())),
                None => self.named_group(group).unwrap_or(own_gid),
            },
        };
        Ok((uid, gid))
    }

    fn named_group(&self, group: &str) -> Option<u32> {
        self.groups().find(|entry| entry.name == group.as_bytes()).map(|entry| entry.gid)
    }

    /// The number of a group, by name or number: a number needs no entry.
    pub fn group_id(&self, group: &str) -> Option<u32> {
        number(group.as_bytes()).or_else(|| self.named_group(group))
    }
}

/// Whether looking `spec` up needs the image's files.
pub(crate) fn has_names(spec: &str) -> bool {
    let (user, group) = owner_parts(spec);
    owner_number(user).is_none() || group.is_some_and(|group| owner_number(group).is_none())
}

/// User and group of an owner.
fn owner_parts(spec: &str) -> (&str, Option<&str>) {
    spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)))
}

/// The number that a part of an owner stands for in every image. What is too big for BuildKit's numbers is a name.
fn owner_number(text: &str) -> Option<u32> {
    match text {
        "" | "root" => Some(0),
        text => text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok()),
    }
}

/// User and group; an empty group is none.
fn split(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    }
}

fn lines(text: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let lines = text.unwrap_or_default().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Whether the text is a number, be it one of an account or not.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n# note\napp:x:1000:1000::/home:/bin/sh\nbroken\nodd:x:7:8::\n";
        let group = "root:x:0:\nwheel:x:10:root\none:x:1001:app\ntwo:x:1002:app,root\n";
        Accounts { passwd: Some(passwd.into()), group: Some(group.into()) }
    }

    fn check_process(spec: &str, uid: u32, gid: u32, groups: &[u32]) {
        let user = accounts().process_user(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!((user.uid, user.gid, &user.groups[..]), (uid, gid, groups), "{spec}");
    }

    #[test]
    fn a_process_has_the_groups_of_its_account() {
        check_process("", 0, 0, &[0, 10, 1002]);
        check_process("root", 0, 0, &[0, 10, 1002]);
        check_process("0", 0, 0, &[0, 10, 1002]);
        check_process("app", 1000, 1000, &[1000, 1001, 1002]);
        check_process("1000", 1000, 1000, &[1000, 1001, 1002]);
        check_process("app:two", 1000, 1002, &[1002]);
        check_process("app:55", 1000, 55, &[55]);
        check_process("4242", 4242, 0, &[0]);
        check_process("odd", 7, 8, &[8]);
    }

    #[test]
    fn an_unknown_name_is_no_process() {
        assert_eq!(accounts().process_user("ghost"), Err(UserError::NoUser("ghost".to_owned())));
        assert_eq!(accounts().process_user("app:ghosts"), Err(UserError::NoGroup("ghosts".to_owned())));
        for spec in ["-1", "2147483648", "4294967296", "app:2147483648"] {
            assert_eq!(accounts().process_user(spec), Err(UserError::OutOfRange), "{spec}");
        }
        assert_eq!(Accounts::default().process_user("5:6").map(|user| (user.uid, user.gid)), Ok((5, 6)));
    }

    fn check_owner(spec: &str, owner: (u32, u32)) {
        assert_eq!(accounts().owner(spec), Ok(owner), "{spec}");
    }

    #[test]
    fn owners_are_lenient_where_docker_is() {
        check_owner("1234:56", (1234, 56));
        check_owner("1234", (1234, 1234));
        check_owner("app", (1000, 1000));
        check_owner("app:two", (1000, 1002));
        check_owner("33:wheel", (33, 10));
        check_owner("ghost", (0, 0));
        check_owner("ghost:ghosts", (0, 0));
        check_owner("app:ghosts", (1000, 1000));
        check_owner("5:1:2", (5, 5));
        check_owner("5:", (5, 0));
        check_owner(":5", (0, 5));
        check_owner("4294967295:1", (0, 1));
        let nothing = Accounts::default();
        assert_eq!(nothing.owner("app"), Err(UserError::NoPasswdFile("app".to_owned())));
        assert_eq!(nothing.owner("1:app"), Err(UserError::NoGroupFile("app".to_owned())));
        assert_eq!(nothing.owner("1:2"), Ok((1, 2)));
        assert_eq!(nothing.owner("root:root"), Ok((0, 0)));
    }

    #[test]
    fn homes() {
        assert_eq!(accounts().home(1000), "/home");
        assert_eq!(accounts().home(7), "/");
        assert_eq!(accounts().home(99), "/");
    }

    #[test]
    fn only_names_need_the_files() {
        assert!(!has_names("1:2") && !has_names("") && !has_names("5") && !has_names("root:"));
        assert!(has_names("app") && has_names("1:two"));
    }
}
