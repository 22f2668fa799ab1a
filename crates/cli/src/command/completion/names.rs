//! Names of containers, images, volumes and networks in completions: the scripts ask lighter for them.

use crate::tree;
use clap_complete::Shell;
use std::fmt::Write as _;

/// What is offered behind some verbs.
struct Offer {
    /// What the scripts call it; in the singular, what comes behind the first name is the container's business.
    name: &'static str,
    /// What lighter is asked for.
    questions: &'static [&'static str],
    /// One of the names of each verb.
    verbs: &'static [&'static str],
}

const CONTAINERS: &str = "ps -a --format '{{.Names}}'";
const IMAGES: &str = "images --format '{{.Repository}}:{{.Tag}}'";

const OFFERS: [Offer; 7] = [
    Offer {
        name: "containers",
        questions: &[CONTAINERS],
        verbs: &[
            "attach",
            "commit",
            "container inspect",
            "cp",
            "diff",
            "export",
            "kill",
            "logs",
            "pause",
            "port",
            "rename",
            "restart",
            "rm",
            "start",
            "stats",
            "stop",
            "unpause",
            "update",
            "wait",
        ],
    },
    Offer { name: "container", questions: &[CONTAINERS], verbs: &["exec", "top"] },
    Offer { name: "image", questions: &[IMAGES], verbs: &["create", "run"] },
    Offer {
        name: "images",
        questions: &[IMAGES],
        verbs: &["history", "image inspect", "push", "rmi", "save", "tag"],
    },
    Offer { name: "objects", questions: &[CONTAINERS, IMAGES], verbs: &["inspect"] },
    Offer { name: "volumes", questions: &["volume ls -q"], verbs: &["volume inspect", "volume rm"] },
    Offer {
        name: "networks",
        questions: &["network ls --format '{{.Name}}'"],
        verbs: &["network connect", "network disconnect", "network inspect", "network rm"],
    },
];

/// Options whose values are names, and of what.
const VALUES: [(&[&str], &str); 2] =
    [(&["network", "net"], "networks"), (&["volumes-from", "link"], "containers")];

impl Offer {
    /// All names of its verbs.
    fn paths(&self) -> impl Iterator<Item = &'static str> {
        tree::VERBS
            .iter()
            .filter(move |entry| entry.spec.paths.iter().any(|path| self.verbs.contains(path)))
            .flat_map(|entry| entry.spec.paths.iter().copied())
    }
}

/// Adds to a script of clap's that it offers names, where it is for a shell that can.
pub(super) fn add(script: &str, shell: Shell) -> String {
    match shell {
        Shell::Bash => {
            let script = script.replace("complete -F _lighter ", "complete -F _lighter_with_names ");
            format!("{}{BASH}{script}", questions())
        }
        Shell::Zsh => match script.rsplit_once("\nif [ \"$funcstack[1]\" =") {
            Some((functions, _)) => format!("{functions}\n{}{ZSH}", questions()),
            None => script.to_owned(),
        },
        Shell::Fish => format!("{script}{}", fish()),
        _ => script.to_owned(),
    }
}

/// Functions that bash and zsh share: what is to be offered, and what there is of it.
fn questions() -> String {
    let mut text = "_lighter_names() {\n    case \"$2\" in\n".to_owned();
    for offer in &OFFERS {
        let asked: Vec<String> = offer.questions.iter().map(|words| format!("\"$1\" {words}")).collect();
        let _ = writeln!(text, "        {}) {} ;;", offer.name, asked.join("; "));
    }
    text.push_str("    esac 2>/dev/null\n}\n\n_lighter_kind() {\n    case \"$1\" in\n");
    for (options, kind) in VALUES {
        let _ = writeln!(text, "        --{}) echo {kind}; return ;;", options.join("|--"));
    }
    text.push_str("    esac\n    case \"$2 $3\" in\n");
    for offer in &OFFERS {
        let pattern = |path| {
            if str::contains(path, ' ') { format!("\"{path}\"") } else { format!("\"{path} \"*") }
        };
        let patterns: Vec<String> = offer.paths().map(pattern).collect();
        let _ = writeln!(text, "        {}) echo {} ;;", patterns.join("|"), offer.name);
    }
    text.push_str("    esac\n}\n\n");
    text
}

const BASH: &str = r#"_lighter_with_names() {
    _lighter "$@"
    local cur="$2" before="" kind names word plain=()
    [[ "$cur" != -* ]] || return 0
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ "$word" == -* ]] || plain+=("$word")
    done
    kind="$(_lighter_kind "$3" "${plain[0]-}" "${plain[1]-}")"
    [[ -n "$kind" ]] || return 0
    names="$(_lighter_names "$1" "$kind")"
    case "$kind" in
        container|image)
            for word in "${plain[@]:1}"; do
                [[ $'\n'"$names"$'\n' != *$'\n'"$word"$'\n'* ]] || return 0
            done ;;
    esac
    # a colon parts words
    if [[ "$cur" == : ]]; then
        before="$3:" cur=""
    elif [[ "$3" == : ]]; then
        before="${COMP_WORDS[COMP_CWORD-2]}:"
    fi
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$before"}")
    done < <(compgen -W "$names" -- "$before$cur")
}

"#;

const ZSH: &str = r#"_lighter_with_names() {
    local kind
    local -a plain offered met
    if [[ "${words[CURRENT]}" != -* ]]; then
        plain=(${${(@)words[2,CURRENT-1]}:#-*})
        kind="$(_lighter_kind "${words[CURRENT-1]}" "${plain[1]}" "${plain[2]}")"
        if [[ -n "$kind" ]]; then
            offered=(${(f)"$(_lighter_names "${words[1]}" "$kind")"})
            [[ "$kind" == (container|image) ]] && met=(${plain:*offered})
            (( $#met )) || compadd -a offered
        fi
    fi
    _lighter "$@"
}

if [ "$funcstack[1]" = "_lighter" ]; then
    _lighter_with_names "$@"
else
    compdef _lighter_with_names lighter
fi
"#;

/// One line for each verb; conditions are clap's.
fn fish() -> String {
    let asked = |questions: &[&str]| {
        let each: Vec<String> =
            questions.iter().map(|words| format!("lighter {words} 2>/dev/null")).collect();
        format!("\"({})\"", each.join("; "))
    };
    let mut text = String::new();
    for offer in &OFFERS {
        for path in offer.paths() {
            let condition = match path.split_once(' ') {
                None => format!("__fish_lighter_using_subcommand {path}"),
                Some((group, verb)) => {
                    format!("__fish_lighter_using_subcommand {group}; and __fish_seen_subcommand_from {verb}")
                }
            };
            let names = asked(offer.questions);
            let takes_files = ["cp", "create", "exec", "run", "save"].iter().any(|verb| path.ends_with(verb));
            let no_files = if takes_files { "" } else { " -f" };
            let _ = writeln!(text, "complete -c lighter -n \"{condition}\"{no_files} -a {names}");
        }
    }
    for (options, kind) in VALUES {
        let offer = OFFERS.iter().find(|offer| offer.name == kind);
        for option in options {
            let names = asked(offer.map_or(&[], |offer| offer.questions));
            let _ = writeln!(text, "complete -c lighter -l {option} -x -a {names}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_that_is_named_is_there_once() {
        let mut seen = Vec::new();
        for offer in &OFFERS {
            for verb in offer.verbs {
                assert!(offer.paths().any(|path| path == *verb), "{verb}");
                assert!(!seen.contains(verb), "{verb} twice");
                seen.push(*verb);
            }
        }
    }

    #[test]
    fn scripts_hold_what_is_added() {
        let check = |shell, text: &str, expected: &str| {
            let script = add(text, shell);
            assert!(script.contains(expected), "{script}");
        };
        check(
            Shell::Bash,
            "complete -F _lighter -o default lighter",
            "complete -F _lighter_with_names -o default",
        );
        check(Shell::Bash, "", "\"rm \"*|");
        check(Shell::Zsh, "x\nif [ \"$funcstack[1]\" = x", "compdef _lighter_with_names lighter");
        check(Shell::Fish, "", "__fish_lighter_using_subcommand volume; and __fish_seen_subcommand_from rm");
        check(Shell::Elvish, "x", "x");
    }
}
