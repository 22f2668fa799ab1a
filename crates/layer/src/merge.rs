//! Several layers as one: what they are together, over what is below them.

use std::path::{Path, PathBuf};

use crate::apply::{ApplyError, ApplyOptions, apply_over};
use crate::carry::{CarryError, carry};
use crate::pack::{PackOptions, pack_stack};
use crate::writer::LayerWriter;

/// Writes into a new, empty directory the one layer that says what several, bottom first, say one after the other.
///
/// Each of them is given by its directories, bottom first. `options.below` is what is below all of them: what one of them
/// removes that only another had made leaves no mark.
///
/// # Errors
/// [`CarryError`]; what was written until then is to be thrown away.
pub fn merge(layers: &[Vec<PathBuf>], into: &Path, options: &ApplyOptions) -> Result<(), CarryError> {
    let writer = LayerWriter::open_as(into, options.below.clone(), options.now, options.policy)
        .map_err(ApplyError::from)?;
    let packing = PackOptions { clamp_mtime: None, policy: options.policy };
    for layer in layers {
        carry(|out| pack_stack(layer, out, &packing).map(drop), |stream| apply_over(stream, &writer))?;
    }
    Ok(writer.finish().map_err(ApplyError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::{layer, list};
    use crate::view::View;

    /// Merges layers over a base: what is in the new layer, and that nobody sees a difference through it.
    fn check(base: &[&str], layers: &[&[&str]], expected: &[&str]) {
        let base = layer(base);
        let layers: Vec<_> = layers.iter().map(|notation| layer(notation)).collect();
        let into = layer(&[]);
        let options = ApplyOptions { below: View::open(&[base.path()]).unwrap(), ..ApplyOptions::default() };
        let paths: Vec<&Path> = layers.iter().map(tempfile::TempDir::path).collect();
        let dirs: Vec<Vec<PathBuf>> = paths.iter().map(|path| vec![path.to_path_buf()]).collect();
        merge(&dirs, into.path(), &options).unwrap();
        let mut stack = vec![base.path()];
        stack.extend(&paths);
        let all = list(&View::open(&stack).unwrap());
        assert_eq!(list(&View::open(&[base.path(), into.path()]).unwrap()), all, "{paths:?}");
        let mut packed = Vec::new();
        crate::pack(into.path(), &mut packed, &PackOptions::default()).unwrap();
        let mut names = Vec::new();
        let mut reader = crate::archive::Reader::new(&packed[..]);
        while let Some(member) = reader.next_member().unwrap() {
            names.push(String::from_utf8(member.path).unwrap());
        }
        assert_eq!(names, expected);
    }

    #[test]
    fn layers_merge_over_a_base() {
        check(&["a=1"], &[&["b=1"], &["b=2", "c=3"]], &["b", "c"]);
        // what only one of them had leaves no mark
        check(&["a=1"], &[&["b=1", "a=2"], &["b!", "a!"]], &[".wh.a"]);
        check(&["d/x=1"], &[&["d!"], &["d/", "d/*", "d/y=1"]], &["d/", "d/.wh..wh..opq", "d/y"]);
        check(&["d/x=1"], &[&["d!"], &["d=file"]], &["d"]);
        check(&["d/x=1"], &[&["d=file"], &["d/y=1"]], &["d/", "d/.wh..wh..opq", "d/y"]);
        check(&["z=1"], &[&["d/x=1"], &["d/", "d/*", "d/y=1"]], &["d/", "d/y"]);
        check(&["d/x=1"], &[&["d/y=1"], &["d/", "d/*", "d/z=1"]], &["d/", "d/.wh..wh..opq", "d/z"]);
        check(&["d/x=1"], &[&["d/y=1"], &["d/x!"], &["d/y!"]], &["d/", "d/.wh.x"]);
        check(&["d/x=1"], &[&["d/x!"], &["d/x=2"]], &["d/", "d/x"]);
        check(&[], &[&["a=1", "b&a"], &["c=1"]], &["a", "b", "c"]);
        check(&["a=1"], &[&["d@700/"], &["d@755/", "l>d"]], &["d/", "l"]);
    }
}
