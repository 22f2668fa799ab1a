//! Taking a running process into a control group.

use super::{Cgroup, CgroupError};

impl Cgroup {
    /// Takes a process that runs already into the group.
    ///
    /// # Errors
    /// [`CgroupError::File`] if it has ended, or the group is gone.
    pub fn adopt(&self, pid: i32) -> Result<(), CgroupError> {
        for directory in self.directories() {
            let path = directory.join("cgroup.procs");
            std::fs::write(&path, pid.to_string()).map_err(|source| CgroupError::File { path, source })?;
        }
        Ok(())
    }
}
