//! Makes the shipped ranges out of the lists that cloud providers publish.
//!
//! `cargo run -p weir-ingest --example compact-clouds -- aws.json google.json azure.json > ingest/src/places/clouds.zst`

use std::error::Error;
use std::io::Write as _;
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    let lists = env::args().skip(1).map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let text = weir_ingest::places::compact(&lists)?;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19)?;
    encoder.include_checksum(true)?;
    encoder.write_all(text.as_bytes())?;
    io::stdout().write_all(&encoder.finish()?)?;
    Ok(())
}
