//! What a registry answers where nothing goes wrong.

use lighter_image::Digest;

use super::faults::Trouble;
use super::http::{Answer, Recorded, Request};
use super::{Content, State, lock};

/// Answers by the specification.
pub(super) fn answer(state: &State, request: &Request) -> Answer {
    let path = request.path();
    let Some(rest) = path.strip_prefix("/v2/") else { return Answer::new(404) };
    if rest.is_empty() {
        return Answer::new(200).body("{}").header("Docker-Distribution-API-Version", "registry/2.0");
    }
    let mut content = lock(&state.content);
    if let Some((repository, upload)) = rest.split_once("/blobs/uploads/") {
        return uploads(&mut content, state, request, repository, upload);
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/") {
        return blob(&content, request, repository, digest);
    }
    if let Some((repository, name)) = rest.split_once("/manifests/") {
        return manifests(&mut content, request, repository, name);
    }
    match rest.strip_suffix("/tags/list") {
        Some(repository) => tags(&content, state, request, repository),
        None => Answer::new(404),
    }
}

/// The part of an upload's body that came before the connection broke.
pub(super) fn interrupted(state: &State, head: &Recorded, kept: Vec<u8>) {
    let id = head.target.split('?').next().and_then(|path| path.rsplit_once("/uploads/"));
    let Some(Ok(id)) = id.map(|(_, id)| id.parse::<u64>()) else { return };
    if let Some(upload) = lock(&state.content).uploads.get_mut(&id).filter(|_| head.method == "PATCH") {
        upload.extend(kept);
    }
}

fn blob(content: &Content, request: &Request, repository: &str, digest: &str) -> Answer {
    let found = digest.parse::<Digest>().ok().filter(|digest| content.has(repository, digest));
    let Some(bytes) = found.and_then(|digest| content.blobs.get(&digest)) else {
        return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let answer = Answer::new(200)
        .header("Docker-Content-Digest", digest)
        .header("Content-Type", "application/octet-stream");
    let range = request.head.header("range").and_then(|text| text.strip_prefix("bytes="));
    let start = range.and_then(|text| text.strip_suffix('-')).and_then(|text| text.parse::<usize>().ok());
    match start {
        Some(start) if start < bytes.len() => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            let mut part = answer.header("Content-Range", range).body(&bytes[start..]);
            part.status = 206;
            part
        }
        Some(_) => Answer::new(416),
        None => answer.body(bytes.to_vec()),
    }
}

fn uploads(
    content: &mut Content,
    state: &State,
    request: &Request,
    repository: &str,
    upload: &str,
) -> Answer {
    if request.head.method == "POST" {
        return begin_upload(content, state, request, repository);
    }
    let Some(id) = upload.parse().ok().filter(|id| content.uploads.contains_key(id)) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    match request.head.method.as_str() {
        "GET" => progress(content, state, request, repository, id, 204),
        "PATCH" => {
            let there = content.uploads.get(&id).map_or(0, Vec::len);
            let range = request.head.header("content-range");
            let start =
                range.and_then(|range| range.split_once('-')).and_then(|(start, _)| start.parse().ok());
            if start.is_some_and(|start: usize| start != there) {
                return progress(content, state, request, repository, id, 416);
            }
            content.uploads.entry(id).or_default().extend_from_slice(&request.body);
            progress(content, state, request, repository, id, 202)
        }
        "PUT" => end_upload(content, request, repository, id),
        "DELETE" => {
            content.uploads.remove(&id);
            Answer::new(204)
        }
        _ => Answer::new(405),
    }
}

fn begin_upload(content: &mut Content, state: &State, request: &Request, repository: &str) -> Answer {
    if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
        && let Ok(digest) = digest.parse::<Digest>()
        && content.has(&from, &digest)
    {
        content.link(repository, digest);
        return Answer::new(201).header("Location", format!("/v2/{repository}/blobs/{digest}"));
    }
    let id = content.next_upload;
    content.next_upload += 1;
    content.uploads.insert(id, Vec::new());
    let answer = progress(content, state, request, repository, id, 202);
    match state.options.least_chunk_bytes {
        Some(least) => answer.header("OCI-Chunk-Min-Length", least.to_string()),
        None => answer,
    }
}

fn progress(
    content: &Content,
    state: &State,
    request: &Request,
    repository: &str,
    id: u64,
    status: u16,
) -> Answer {
    let there = content.uploads.get(&id).map_or(0, Vec::len);
    let port =
        request.head.header("host").and_then(|host| host.rsplit_once(':')).map_or("80", |(_, port)| port);
    let root = state.options.uploads_at.map(|host| format!("http://{host}:{port}")).unwrap_or_default();
    Answer::new(status)
        .header("Location", format!("{root}/v2/{repository}/blobs/uploads/{id}?at={there}"))
        .header("Range", format!("0-{}", there.saturating_sub(1)))
}

fn end_upload(content: &mut Content, request: &Request, repository: &str, id: u64) -> Answer {
    let mut bytes = content.uploads.remove(&id).unwrap_or_default();
    bytes.extend_from_slice(&request.body);
    let actual = Digest::of(&bytes);
    if request.query("digest") != Some(actual.to_string()) {
        return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    content.put_blob(repository, actual, bytes);
    Answer::new(201)
        .header("Location", format!("/v2/{repository}/blobs/{actual}"))
        .header("Docker-Content-Digest", actual.to_string())
}

fn manifests(content: &mut Content, request: &Request, repository: &str, name: &str) -> Answer {
    if request.head.method == "PUT" {
        let media_type = request.head.header("content-type").unwrap_or_default();
        let digest = content.put_manifest(repository, name, media_type, request.body.clone());
        return Answer::new(201)
            .header("Location", format!("/v2/{repository}/manifests/{digest}"))
            .header("Docker-Content-Digest", digest.to_string());
    }
    let Some((media_type, bytes)) = content.manifests.get(&(repository.to_owned(), name.to_owned())) else {
        return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let accepted = request.head.header("accept").unwrap_or_default();
    if !media_type.is_empty() && !accepted.contains(media_type.as_str()) {
        return Answer::error(404, "MANIFEST_UNKNOWN", "it is of a kind that was not asked for");
    }
    Answer::new(200)
        .header("Content-Type", media_type.as_str())
        .header("Docker-Content-Digest", Digest::of(bytes.as_slice()).to_string())
        .body(bytes.to_vec())
}

fn tags(content: &Content, state: &State, request: &Request, repository: &str) -> Answer {
    let Some(all) = content.tags.get(repository) else {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let last = request.query("last").unwrap_or_default();
    let page = state.options.tags_page.unwrap_or(usize::MAX);
    let rest: Vec<&String> = all.iter().filter(|tag| **tag > last).collect();
    let shown: Vec<&String> = rest.iter().copied().take(page).collect();
    let answer = Answer::new(200).header("Content-Type", "application/json");
    let answer = match shown.last() {
        Some(last) if shown.len() < rest.len() => {
            answer.header("Link", format!("</v2/{repository}/tags/list?n={page}&last={last}>; rel=\"next\""))
        }
        _ => answer,
    };
    answer.body(serde_json::json!({ "name": repository, "tags": shown }).to_string())
}

/// What is left out of a request where this goes wrong.
pub(super) fn without_range(request: &mut Request, trouble: Option<&Trouble>) {
    if matches!(trouble, Some(Trouble::NoRanges)) {
        request.head.headers.retain(|(name, _)| name != "range");
    }
}
