//! The names of the containers of one network: a small file for each container that is on it.
//!
//! A file is named after the container's link on the bridge. When that link is gone, so is the container, whatever
//! became of the process that should have removed the file; such files count for nothing and are swept.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bridge::Endpoint;
use super::netlink::{NetlinkError, Socket};
use super::route;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    address: Ipv4Addr,
    #[serde(default)]
    address6: Option<Ipv6Addr>,
    /// The container's name first.
    names: Vec<String>,
}

impl Record {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(IpAddr::V4(self.address)).chain(self.address6.map(IpAddr::V6))
    }
}

/// Why the names of a network could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// A file could not be read, written or removed.
    #[error("accessing `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be told which containers are still there.
    #[error("reading the network links of this machine")]
    Links(#[source] NetlinkError),
}

/// The names of the containers of one network.
#[derive(Debug, Clone)]
pub struct Names {
    network: String,
    dir: PathBuf,
}

impl Names {
    /// The names kept in `dir` for the network of this name.
    pub fn new(network: &str, dir: &Path) -> Self {
        Self { network: network.to_owned(), dir: dir.to_owned() }
    }

    /// Makes a container known by its names, its own first.
    ///
    /// # Errors
    /// [`NamesError`] when the file cannot be written.
    pub fn register(&self, endpoint: &Endpoint, names: &[String]) -> Result<(), NamesError> {
        let path = self.file_of(endpoint);
        let fail = |source| NamesError::File { path: path.clone(), source };
        fs::create_dir_all(&self.dir).map_err(fail)?;
        self.sweep()?;
        let record = Record {
            address: endpoint.address,
            address6: endpoint.six.map(|six| six.address),
            names: names.to_vec(),
        };
        let bytes = serde_json::to_vec(&record).map_err(|error| fail(error.into()))?;
        let scratch = path.with_extension("new");
        fs::write(&scratch, bytes).map_err(fail)?;
        fs::rename(&scratch, &path).map_err(fail)
    }

    /// Makes a container unknown; that it is so already is no error.
    ///
    /// # Errors
    /// [`NamesError::File`] when the file cannot be removed.
    pub fn unregister(&self, endpoint: &Endpoint) -> Result<(), NamesError> {
        remove(&self.file_of(endpoint))
    }

    /// The addresses of the containers with this name, or with this name and the network's behind it.
    ///
    /// # Errors
    /// [`NamesError`] when the files cannot be read.
    pub fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NamesError> {
        let suffix_start = name.len().saturating_sub(self.network.len() + 1);
        let is_own = name.get(suffix_start..).is_some_and(|suffix| {
            suffix.strip_prefix('.').is_some_and(|tail| tail.eq_ignore_ascii_case(&self.network))
        });
        let short = if is_own { &name[..suffix_start] } else { name };
        let matches = |record: &Record| {
            let known =
                |other: &String| other.eq_ignore_ascii_case(name) || other.eq_ignore_ascii_case(short);
            record.names.iter().any(known)
        };
        Ok(self.live(matches)?.iter().flat_map(Record::addresses).collect())
    }

    /// The full name of the container with this address.
    ///
    /// # Errors
    /// [`NamesError`] when the files cannot be read.
    pub fn name_of(&self, address: IpAddr) -> Result<Option<String>, NamesError> {
        let found = self.live(|record| record.addresses().any(|own| own == address))?;
        let name = found.into_iter().find_map(|record| record.names.into_iter().next());
        Ok(name.map(|name| format!("{name}.{}", self.network)))
    }

    fn file_of(&self, endpoint: &Endpoint) -> PathBuf {
        self.dir.join(format!("{}.json", endpoint.host_interface))
    }

    /// The matching records of containers that are still there.
    fn live(&self, matches: impl Fn(&Record) -> bool) -> Result<Vec<Record>, NamesError> {
        let socket = Socket::route().map_err(NamesError::Links)?;
        let mut found = Vec::new();
        for (link, path) in self.files()? {
            let Some(record) = read(&path)?.filter(&matches) else { continue };
            if route::link(&socket, &link).map_err(NamesError::Links)?.is_some() {
                found.push(record);
            }
        }
        Ok(found)
    }

    fn sweep(&self) -> Result<(), NamesError> {
        let socket = Socket::route().map_err(NamesError::Links)?;
        for (link, path) in self.files()? {
            if route::link(&socket, &link).map_err(NamesError::Links)?.is_none() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The files, each with the link it is named after, in a fixed order.
    fn files(&self) -> Result<Vec<(String, PathBuf)>, NamesError> {
        let fail = |source| NamesError::File { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fail)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            let is_record = path.extension().is_some_and(|extension| extension == "json");
            if let Some(link) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_record) {
                files.push((link.to_owned(), path));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn read(path: &Path) -> Result<Option<Record>, NamesError> {
    let fail = |source| NamesError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| fail(error.into())),
    }
}

fn remove(path: &Path) -> Result<(), NamesError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(NamesError::File { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(link: &str, last: u8) -> Endpoint {
        Endpoint {
            interface: "eth0".into(),
            host_interface: link.into(),
            address: Ipv4Addr::new(10, 9, 0, last),
            subnet: "10.9.0.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 9, 0, 1),
            hardware_address: [2, 0, 0, 0, 0, last],
            six: None,
            gateway6: None,
        }
    }

    #[test]
    fn names_are_found_while_the_container_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::new("back.end", dir.path());
        assert_eq!(names.addresses("db").unwrap(), Vec::<IpAddr>::new());
        // `lo` stands for the link of a living container.
        names.register(&endpoint("lo", 2), &["db".into(), "Alias".into()]).unwrap();
        let address = IpAddr::from([10, 9, 0, 2]);
        for name in ["db", "DB", "alias", "db.back.end", "Alias.BACK.END"] {
            assert_eq!(names.addresses(name).unwrap(), [address], "{name}");
        }
        for name in ["d", "db.", ".back.end", "db.back", "back.end", "db.other", "é"] {
            assert!(names.addresses(name).unwrap().is_empty(), "{name}");
        }
        assert_eq!(names.name_of(address).unwrap().as_deref(), Some("db.back.end"));
        names.unregister(&endpoint("lo", 2)).unwrap();
        names.unregister(&endpoint("lo", 2)).unwrap();
        assert!(names.addresses("db").unwrap().is_empty());
    }

    #[test]
    fn what_a_dead_container_left_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::new("net", dir.path());
        names.register(&endpoint("gone-link", 3), &["db".into()]).unwrap();
        assert!(names.addresses("db").unwrap().is_empty());
        names.register(&endpoint("lo", 2), &["web".into()]).unwrap();
        assert_eq!(names.files().unwrap().len(), 1);
    }
}
