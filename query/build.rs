//! Lists the files of the console's bundle (`console/dist`) for `src/console.rs`, each as it is and
//! compressed by gzip, so that a request copies bytes and compresses none.
//!
//! ```text
//! OUT_DIR/console.rs      [Asset { path: "/assets/index-1a2b3c4d.js", plain: include_bytes!(..), .. }, ..]
//! OUT_DIR/console/N.gz    what gzip made of the N-th file
//! ```

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    let folder = variable("CARGO_MANIFEST_DIR")?.join("console/dist");
    let out = variable("OUT_DIR")?;
    let compressed = out.join("console");
    fs::create_dir_all(&compressed)?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut files = Vec::new();
    list(&folder, &mut files)?;
    // The order of a folder is the file system's own.
    files.sort();
    let mut text = String::from("[\n");
    for (number, file) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let gzip = compressed.join(format!("{number}.gz"));
        let plain = fs::read(file)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        fs::write(&gzip, encoder.finish()?)?;
        let path = file.strip_prefix(&folder).map_err(io::Error::other)?;
        let path = format!("/{}", path.to_str().ok_or_else(|| unreadable(path))?);
        let _ = writeln!(
            text,
            "Asset {{ path: {path:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({gzip:?}) }},"
        );
    }
    text.push(']');
    fs::write(out.join("console.rs"), text)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other(format!("{name} is not set")))
}

/// All files below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::other(format!("the name of {} is no UTF-8", path.display()))
}
