//! Who may do what: nobody asked, a name and a password, or a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::{Answer, Request, parameters};
use super::{State, handlers, lock};

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Anybody may do anything.
    #[default]
    None,
    /// Whoever knows this name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// Whoever has a token that covers it; tokens are given out at `/token`.
    Token {
        /// Who gets tokens: anybody, for reading only, where nothing is given.
        user: Option<(String, String)>,
        /// An identity token that is given out, and taken in place of the password.
        identity: Option<String>,
        /// How long tokens are said to be good for.
        expires_in: u32,
    },
}

/// Answers a request, if whoever sent it may do this.
pub(super) fn guarded(state: &State, request: &Request) -> Answer {
    let given = request.head.header("authorization").unwrap_or_default();
    match &state.options.auth {
        Auth::None => handlers::answer(state, request),
        Auth::Basic { username, password } => {
            if given == basic(username, password) {
                handlers::answer(state, request)
            } else {
                unauthorized("Basic realm=\"test\"")
            }
        }
        Auth::Token { user, identity, expires_in } => {
            if request.path() == "/token" {
                return give_token(state, request, user.as_ref(), identity.as_deref(), *expires_in);
            }
            let needed = needed_scope(request);
            let good = given.strip_prefix("Bearer ").is_some_and(|token| {
                lock(&state.tokens).iter().any(|known| known == token) && covers(token, needed.as_deref())
            });
            if good {
                return handlers::answer(state, request);
            }
            let scheme = if state.secure { "https" } else { "http" };
            let host = request.head.header("host").unwrap_or_default();
            let scope = needed.map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
            unauthorized(&format!("Bearer realm=\"{scheme}://{host}/token\",service=\"test\"{scope}"))
        }
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn unauthorized(challenge: &str) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge)
}

fn give_token(
    state: &State,
    request: &Request,
    user: Option<&(String, String)>,
    identity: Option<&str>,
    expires_in: u32,
) -> Answer {
    let form = parameters(&String::from_utf8_lossy(&request.body));
    let in_form = |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let allowed = match (request.head.method.as_str(), user) {
        ("POST", _) => identity.is_some() && in_form("refresh_token").as_deref() == identity,
        (_, Some((username, password))) => {
            request.head.header("authorization") == Some(&basic(username, password))
        }
        (_, None) => true,
    };
    if !allowed {
        return Answer::new(401)
            .header("Content-Type", "application/json")
            .body("{\"details\":\"incorrect username or password\"}");
    }
    let mut scopes = request.queries("scope");
    scopes.extend(in_form("scope").iter().flat_map(|scope| scope.split(' ').map(str::to_owned)));
    if user.is_none() {
        scopes.retain(|scope| !scope.contains("push"));
    }
    let mut tokens = lock(&state.tokens);
    // a token says what it covers, so that the test of it is simple
    let token = format!("t{}.{}", tokens.len(), STANDARD.encode(scopes.join(" ")));
    tokens.push(token.clone());
    let mut answer = serde_json::json!({ "token": token, "expires_in": expires_in });
    if let Some(identity) = identity.filter(|_| request.query("offline_token").is_some()) {
        answer["refresh_token"] = identity.into();
    }
    Answer::new(200).header("Content-Type", "application/json").body(answer.to_string())
}

/// The scope that a request needs; none for the root.
fn needed_scope(request: &Request) -> Option<String> {
    let rest = request.path().strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/", "/tags/"].iter().filter_map(|part| rest.find(part)).min()?;
    let actions = if matches!(request.head.method.as_str(), "GET" | "HEAD") { "pull" } else { "pull,push" };
    Some(format!("repository:{}:{actions}", &rest[..end]))
}

fn covers(token: &str, needed: Option<&str>) -> bool {
    let Some(needed) = needed else { return true };
    let Some((name, actions)) = needed.rsplit_once(':') else { return false };
    let encoded = token.split_once('.').map_or("", |(_, encoded)| encoded);
    let scopes = STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8_lossy(&scopes).split(' ').filter_map(|scope| scope.rsplit_once(':')).any(
        |(own, has)| own == name && actions.split(',').all(|action| has.split(',').any(|own| own == action)),
    )
}
