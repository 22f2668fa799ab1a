//! Just enough of HTTP/1.1 for a registry.

use std::io::{self, Read as _};
use std::thread;
use std::time::Duration;

use super::faults::{self, Trouble};
use super::{State, Stream, auth, handlers, lock};

const LONGEST_HEAD: usize = 64 << 10;
/// What a client says first that wants the connection to be secured.
const TLS_HANDSHAKE: u8 = 22;

/// A request that arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many bytes of body came with it.
    pub body_bytes: usize,
}

impl Recorded {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A request, with its body.
pub(super) struct Request {
    pub(super) head: Recorded,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn path(&self) -> &str {
        self.head.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        let query = self.head.target.split_once('?').map_or("", |(_, query)| query);
        parameters(query).into_iter().filter(|(own, _)| own == name).map(|(_, value)| value).collect()
    }
}

/// Splits `a=b&c=d`, and decodes the values.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    #[must_use]
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A refusal in the form that the specification has for it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let document = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status).header("Content-Type", "application/json").body(document.to_string())
    }
}

/// Answers one request; says whether there may be another one on this connection.
pub(super) fn serve_one(stream: &mut dyn Stream, state: &State) -> io::Result<bool> {
    let Some((head, early)) = read_head(stream)? else { return Ok(false) };
    let trouble = faults::take(state, &head);
    if let Some(Trouble::CutRequestAfter(bytes)) = trouble {
        let kept = read_some(stream, early, bytes)?;
        handlers::interrupted(state, &head, kept);
        lock(&state.requests).push(head);
        return Ok(false);
    }
    let body = read_body(stream, &head, early)?;
    let mut request = Request { head, body };
    request.head.body_bytes = request.body.len();
    lock(&state.requests).push(request.head.clone());
    handlers::without_range(&mut request, trouble.as_ref());
    let mut answer = match &trouble {
        Some(Trouble::Answer { status, headers, body }) => {
            Answer { status: *status, headers: headers.clone(), body: body.clone() }
        }
        Some(Trouble::RedirectTo(root)) => {
            Answer::new(307).header("Location", format!("{root}{}", request.head.target))
        }
        Some(Trouble::RevokeTokens) => {
            lock(&state.tokens).clear();
            auth::guarded(state, &request)
        }
        _ => auth::guarded(state, &request),
    };
    answer.headers.extend(state.options.warning.map(|text| ("Warning".to_owned(), text.to_owned())));
    if trouble == Some(Trouble::CutBefore) {
        return Ok(false);
    }
    let is_head = request.head.method == "HEAD";
    send(stream, answer, is_head, trouble.as_ref())
}

fn read_head(stream: &mut dyn Stream) -> io::Result<Option<(Recorded, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || bytes.len() > LONGEST_HEAD {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..count]);
        if bytes[0] == TLS_HANDSHAKE {
            stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is a server of plain http\n")?;
            return Ok(None);
        }
    };
    let early = bytes.split_off(end + 4);
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some((Recorded { method, target, headers, body_bytes: 0 }, early)))
}

fn read_body(stream: &mut dyn Stream, head: &Recorded, early: Vec<u8>) -> io::Result<Vec<u8>> {
    if head.header("transfer-encoding").is_some() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "bodies of unknown length are not taken"));
    }
    let length = head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    read_some(stream, early, length)
}

fn read_some(stream: &mut dyn Stream, mut bytes: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    bytes.truncate(length);
    let missing = length - bytes.len();
    let count = stream.take(missing as u64).read_to_end(&mut bytes)?;
    if count < missing { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn send(
    stream: &mut dyn Stream,
    mut answer: Answer,
    is_head: bool,
    trouble: Option<&Trouble>,
) -> io::Result<bool> {
    let mut length = answer.body.len();
    match trouble {
        Some(Trouble::Flip) => {
            if let Some(last) = answer.body.last_mut() {
                *last ^= 1;
            }
        }
        Some(Trouble::Announce(bytes)) => length = *bytes,
        Some(Trouble::Endless) => length = usize::MAX >> 1,
        Some(Trouble::Append(more)) => {
            answer.body.extend_from_slice(more);
            length = answer.body.len();
        }
        Some(Trouble::Stall(pause)) => thread::sleep(*pause),
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} Test\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let has_length = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_length && answer.status != 204 {
        head.extend(["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if is_head {
        return stream.flush().map(|()| true);
    }
    match trouble {
        Some(Trouble::CutAfter(bytes)) => {
            stream.write_all(&answer.body[..answer.body.len().min(*bytes)])?;
            stream.flush()?;
            return Ok(false);
        }
        Some(Trouble::Slow { piece_bytes, pause }) => {
            send_slowly(stream, &answer.body, *piece_bytes, *pause)?;
        }
        Some(Trouble::Endless) => send_endlessly(stream)?,
        _ => stream.write_all(&answer.body)?,
    }
    stream.flush()?;
    Ok(true)
}

fn send_slowly(stream: &mut dyn Stream, body: &[u8], piece: usize, pause: Duration) -> io::Result<()> {
    for piece in body.chunks(piece.max(1)) {
        stream.write_all(piece)?;
        stream.flush()?;
        thread::sleep(pause);
    }
    Ok(())
}

/// Ends when the other side has had enough.
fn send_endlessly(stream: &mut dyn Stream) -> io::Result<()> {
    let spaces = [b' '; 16 << 10];
    loop {
        stream.write_all(&spaces)?;
    }
}
