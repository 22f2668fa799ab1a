//! `dockerfile fmt` and `dockerfile graph`.

use crate::args::dockerfile::{Format, Graph};
use crate::environment;
use crate::failure::Failure;
use crate::render::{diagnostic, output_file};
use crate::session::Session;
use crate::verb::Verb;
use lighter_dockerfile::{Diagnostic, Request, fmt, graph, parse};
use lighter_image::Platform;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

impl Verb for Format {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let files =
            if self.files.is_empty() { vec![PathBuf::from("Dockerfile")] } else { self.files.clone() };
        let mut failures = Vec::new();
        for path in &files {
            if let Err(failure) = self.one(path, session) {
                failures.push(failure.text);
            }
        }
        if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
    }
}

impl Format {
    fn one(&self, path: &Path, session: &Session) -> Result<(), Failure> {
        let source = read(path)?;
        let formatted = fmt::format(&source).map_err(|faults| faulty(path, &source, &faults, session))?;
        let is_formatted = formatted.as_bytes() == source;
        match path.to_str() {
            _ if self.check && !is_formatted => {
                Err(Failure::new(format!("Error: {} is not formatted", path.display())))
            }
            _ if self.check => Ok(()),
            Some("-") => session.print(&formatted),
            _ if is_formatted => Ok(()),
            _ => {
                let mode_bits = fs::metadata(path)?.permissions().mode() & 0o777;
                output_file::whole(path, mode_bits, |out| Ok(out.write_all(formatted.as_bytes())?))
            }
        }
    }
}

impl Verb for Graph {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let path = self.file.unwrap_or_else(|| "Dockerfile".into());
        let source = read(&path)?;
        let parsed = parse(&source);
        let faults: Vec<Diagnostic> = parsed.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        if !faults.is_empty() {
            return Err(faulty(&path, &source, &faults, session));
        }
        let mut request = Request::new(Platform::host());
        request.target = self.target;
        request.build_args = self
            .build_arg
            .iter()
            .filter_map(|text| match text.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => environment::passed_on(text).map(|value| (text.clone(), value)),
            })
            .collect();
        let drawing = graph::draw(&parsed.file, &request);
        let text = match self.format.as_str() {
            "text" => drawing.to_text(),
            "dot" => drawing.to_dot(),
            "svg" => drawing.to_svg(),
            other => return Err(Failure::new(format!("Error: --format={other}: it is text, dot or svg"))),
        };
        session.print(&text).map(|()| 0)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let source = match path.to_str() {
        Some("-") => {
            let mut source = Vec::new();
            io::stdin().read_to_end(&mut source).map(|_| source)
        }
        _ => fs::read(path),
    };
    source.map_err(|error| Failure::new(format!("Error: open {}: {error}", path.display())))
}

fn faulty(path: &Path, source: &[u8], faults: &[Diagnostic], session: &Session) -> Failure {
    let colours = session.reports_to_terminal() && !environment::no_color();
    let name = path.display().to_string();
    Failure::new(format!("{}Error: {name} has faults", diagnostic::rendered(&name, source, faults, colours)))
}
