//! Changes of permissions, as `--chmod` takes them.

/// A text that is no change of permissions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode `{0}`: expected octal digits such as `755`, or a change such as `u=rwX,go=rX`")]
pub struct ParseModeError(String);

/// A change of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// These bits, whatever was there.
    Octal(u32),
    /// What is done, one after the other, to what was there.
    Symbolic(Vec<Command>),
}

/// One thing that a symbolic change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Adds bits.
    Add(u32),
    /// Takes bits away.
    Remove(u32),
    /// Adds bits to directories, and to files that someone could execute before the change.
    AddIfExecutable(u32),
    /// Gives the bits of one class to others.
    Copy {
        /// Where the class is: 6, 3 or 0.
        from: u32,
        /// `+`, `-` or `=`.
        operator: u8,
        /// The bits of those who get them.
        to: u32,
    },
}

/// What is taken away where a clause does not say for whom, and of new directories.
const UMASK: u32 = 0o022;
/// All bits that `=` clears where a clause does not say for whom: all but the sticky one.
const STANDARD: u32 = 0o6777;
const OTHERS: u32 = 0o007;
const STICKY: u32 = 0o1000;

impl ModeChange {
    /// Reads octal digits or symbolic clauses.
    ///
    /// # Errors
    /// [`ParseModeError`] for anything else.
    /// # Source
    /// chmod(1) and setmode(3) of BSD, which Docker follows rather than GNU: a directory keeps no setgid bit, `X`
    /// looks at the mode before the change, `o+t` and `o+s` do nothing.
    pub fn parse(text: &str) -> Result<Self, ParseModeError> {
        let refuse = || ParseModeError(text.to_owned());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).map_err(|_| refuse())?;
            return if bits <= 0o7777 { Ok(Self::Octal(bits)) } else { Err(refuse()) };
        }
        let mut commands = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause.as_bytes(), &mut commands).ok_or_else(refuse)?;
        }
        Ok(Self::Symbolic(commands))
    }

    /// The permissions after the change.
    pub fn apply(&self, mode_bits: u32, is_folder: bool) -> u32 {
        let before = mode_bits & 0o7777;
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(commands) => {
                let may_execute = is_folder || before & 0o111 != 0;
                commands.iter().fold(before, |mode, command| command.apply(mode, may_execute))
            }
        }
    }

    /// The permissions of directories that are made on the way: what `mkdir` makes of the bits.
    pub const fn of_new_folders(&self) -> u32 {
        match self {
            Self::Octal(bits) => *bits & 0o777 & !UMASK,
            Self::Symbolic(_) => 0o755,
        }
    }
}

impl std::str::FromStr for ModeChange {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn parse_clause(text: &[u8], commands: &mut Vec<Command>) -> Option<()> {
    let letters = text.iter().take_while(|byte| b"ugoa".contains(byte)).count();
    let (classes, mut rest) = text.split_at(letters);
    let who = classes.iter().fold(0, |all, class| {
        all | match class {
            b'u' => 0o4700,
            b'g' => 0o2070,
            b'o' => OTHERS,
            _ => STANDARD,
        }
    });
    if rest.is_empty() {
        return None;
    }
    while let Some((operator, after)) = rest.split_first() {
        if !b"+-=".contains(operator) {
            return None;
        }
        let length = after.iter().take_while(|byte| !b"+-=".contains(byte)).count();
        let (letters, next) = after.split_at(length);
        let mut action = Action { who, operator: *operator, bits: 0, x_bits: 0, is_set: false };
        for letter in letters {
            action.letter(*letter, commands)?;
        }
        action.finish(commands);
        rest = next;
    }
    Some(())
}

/// An operator and the letters behind it, while they are read.
struct Action {
    /// The bits of those it is for; none where the clause does not say.
    who: u32,
    operator: u8,
    bits: u32,
    x_bits: u32,
    /// Whether a `=` has already taken away what was there.
    is_set: bool,
}

impl Action {
    fn letter(&mut self, letter: u8, commands: &mut Vec<Command>) -> Option<()> {
        let is_for_others_alone = self.who != 0 && self.who & !OTHERS == 0;
        match letter {
            b'r' => self.bits |= 0o444,
            b'w' => self.bits |= 0o222,
            b'x' => self.bits |= 0o111,
            b'X' => self.x_bits = 0o111,
            b's' | b't' if is_for_others_alone => {}
            b's' => self.bits |= 0o6000,
            b't' => {
                self.who |= STICKY;
                self.bits |= STICKY;
            }
            b'u' => self.copy(6, commands),
            b'g' => self.copy(3, commands),
            b'o' => self.copy(0, commands),
            _ => return None,
        }
        Some(())
    }

    fn copy(&mut self, from: u32, commands: &mut Vec<Command>) {
        if self.bits != 0 {
            self.put_bits(commands);
        }
        self.is_set |= self.operator == b'=';
        self.put_x_bits(commands);
        let to = if self.who == 0 { 0o777 & !UMASK } else { self.who & 0o777 };
        commands.push(Command::Copy { from, operator: self.operator, to });
    }

    fn finish(mut self, commands: &mut Vec<Command>) {
        if self.bits != 0 || (self.operator == b'=' && !self.is_set) {
            self.put_bits(commands);
        }
        self.put_x_bits(commands);
    }

    fn put_bits(&mut self, commands: &mut Vec<Command>) {
        let bits = std::mem::take(&mut self.bits) & self.reach();
        if self.operator == b'=' {
            self.is_set = true;
            commands.push(Command::Remove(if self.who == 0 { STANDARD } else { self.who }));
        }
        commands.push(if self.operator == b'-' { Command::Remove(bits) } else { Command::Add(bits) });
    }

    fn put_x_bits(&mut self, commands: &mut Vec<Command>) {
        let bits = std::mem::take(&mut self.x_bits) & self.reach();
        if bits != 0 && self.operator != b'-' {
            commands.push(Command::AddIfExecutable(bits));
        }
    }

    const fn reach(&self) -> u32 {
        if self.who == 0 { 0o7777 & !UMASK } else { self.who }
    }
}

impl Command {
    const fn apply(self, mode: u32, may_execute: bool) -> u32 {
        match self {
            Self::Add(bits) => mode | bits,
            Self::Remove(bits) => mode & !bits,
            Self::AddIfExecutable(bits) => {
                if may_execute {
                    mode | bits
                } else {
                    mode
                }
            }
            Self::Copy { from, operator, to } => {
                let bits = ((mode >> from & 7) * 0o111) & to;
                match operator {
                    b'+' => mode | bits,
                    b'-' => mode & !bits,
                    _ => mode & !to | bits,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_applied_as_docker_does() {
        for (change, before, is_folder, after) in [
            ("755", 0o600, false, 0o755),
            ("04711", 0o600, false, 0o4711),
            ("u=rwX,go=rX", 0o644, false, 0o644),
            ("u=rwX,go=rX", 0o755, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("a+w,o-r", 0o644, false, 0o662),
            ("+x", 0o644, false, 0o755),
            ("+w", 0o444, false, 0o644),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("g=u", 0o750, false, 0o770),
            ("u=rw,go=", 0o755, true, 0o600),
            ("u+x-w", 0o644, false, 0o544),
            ("=", 0o777, false, 0),
            ("=", 0o7777, false, 0o1000),
            ("u=rw,g=r,o=", 0o2711, true, 0o640),
            ("a=", 0o2711, true, 0),
            ("=r", 0o2711, true, 0o444),
            ("o+t", 0o755, true, 0o755),
            ("o+s", 0o755, false, 0o755),
            ("g+s,o+t", 0o644, false, 0o2644),
            ("u+t", 0o644, false, 0o1644),
            ("u=rwg", 0o640, false, 0o440),
            ("u=gr", 0o670, false, 0o470),
        ] {
            let change_ = ModeChange::parse(change).unwrap();
            assert_eq!(change_.apply(before, is_folder), after, "{change} on {before:o}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "u", "99", "77777", "u~x", "u+q", "rwx", "u+x,", "7a"] {
            assert_eq!(ModeChange::parse(text), Err(ParseModeError(text.into())), "{text}");
        }
    }
}
