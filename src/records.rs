//! What an operator asks of the data folder, beside a running relay or without one: `sotto audit`, `erase`, `export`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};

use crate::audit::{self, AuditError};
use crate::call_log::seconds;
use crate::call_log::store::{Kept, Store, StoreError};

/// A question about the stored records.
#[derive(Subcommand, Clone, Debug)]
pub enum Records {
    /// Read every byte of the data folder and tell all that should not be there.
    ///
    /// Ends with 0 when there is nothing, 1 when there is, 2 when it could not be told. It can run beside the relay.
    /// It finds what is not of the documented form, and what was planted on purpose (--search). It cannot find what was
    /// encrypted, compressed or encoded twice, nor what lies outside the folder.
    Audit(Audit),
    /// Erase every row of the call log now, so that no byte of them is left in any file.
    ///
    /// It can run beside the relay; calls that go on are not touched, and leave their row when they end.
    Erase(Erase),
    /// Print every row of the call log: all that is stored about calls.
    Export(Export),
}

#[derive(Args, Clone, Debug)]
#[allow(missing_docs)] // the help is the documentation
pub struct Folder {
    /// The relay's data folder
    #[arg(long = "data", alias = "data-dir", env = "SOTTO_DATA_DIR", value_name = "folder", default_value = "./data")]
    data: PathBuf,
}

#[derive(Args, Clone, Debug)]
#[allow(missing_docs)]
pub struct Audit {
    #[command(flatten)]
    folder: Folder,
    /// Also search for what was planted: a file with one canary on each line, as text:Anastasia, hex:0a4d0001,
    /// base64:Zm9yZ290dGU or ip:fd00:77::1. Searched raw, in hex, base64, UTF-16, percent-encoded, escaped, as lists
    /// of numbers; addresses also in network order and in every spelling.
    #[arg(long, value_name = "file")]
    search: Option<PathBuf>,
    /// Search this file or folder too, as a log or a saved answer; can be given again
    #[arg(long = "in", value_name = "path", requires = "search")]
    also: Vec<PathBuf>,
}

#[derive(Args, Clone, Debug)]
#[allow(missing_docs)]
pub struct Erase {
    #[command(flatten)]
    folder: Folder,
    /// Really erase. Without it, it is only told what would be.
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Clone, Debug)]
#[allow(missing_docs)]
pub struct Export {
    #[command(flatten)]
    folder: Folder,
    /// How
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Format {
    /// An array of objects
    Json,
    /// A line with the names, then one line for each row (RFC 4180)
    Csv,
}

/// Why it could not be done. Each prints as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Nothing to look at.
    #[error(
        "there is no call log in {0}; name the relay's data folder with --data (a relay with --retention-days 0 has none)"
    )]
    Missing(PathBuf),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit could not be done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The output is gone.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Does what was asked and writes what is to be told. Returns the exit status.
pub async fn run(asked: Records, now: SystemTime, out: &mut dyn Write) -> Result<u8, RecordsError> {
    match asked {
        Records::Audit(asked) => {
            let request = audit::Request { data: asked.folder.data, search: asked.search, also: asked.also };
            let report = audit::audit(&request, seconds(now)).await?;
            write!(out, "{report}")?;
            Ok(u8::from(!report.is_clean()))
        }
        Records::Erase(asked) => erase(&asked.folder.data, asked.yes, out).await,
        Records::Export(asked) => {
            let store = open(&asked.folder.data, false).await?;
            export(&store.rows().await?, asked.format, out)?;
            Ok(0)
        }
    }
}

async fn open(folder: &Path, write: bool) -> Result<Store, RecordsError> {
    Store::existing(folder, write).await?.ok_or_else(|| RecordsError::Missing(folder.to_owned()))
}

async fn erase(folder: &Path, yes: bool, out: &mut dyn Write) -> Result<u8, RecordsError> {
    let store = open(folder, yes).await?;
    if !yes {
        let (rows, _) = store.extent().await?;
        writeln!(out, "{} would be erased from {}; add --yes to erase", counted(rows), folder.display())?;
        return Ok(NOTHING_DONE);
    }
    let rows = store.erase().await?;
    store.close().await;
    writeln!(out, "{} erased; no byte of a row is left in {}", counted(rows), folder.display())?;
    Ok(0)
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

fn export(rows: &[Kept], format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            for (index, row) in rows.iter().enumerate() {
                let row = serde_json::to_string(row).expect("texts and numbers are JSON");
                write!(out, "{}{row}", if index == 0 { "[\n  " } else { ",\n  " })?;
            }
            writeln!(out, "{}", if rows.is_empty() { "[]" } else { "\n]" })
        }
        Format::Csv => {
            write!(out, "{}\r\n", Kept::COLUMNS.join(","))?;
            rows.iter().try_for_each(|row| {
                let fields: Vec<String> = row.fields().iter().map(|field| quoted(field)).collect();
                write!(out, "{}\r\n", fields.join(","))
            })
        }
    }
}

/// A field as RFC 4180 wants it, and so that no program for tables takes it for a formula.
fn quoted(field: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if field.bytes().all(plain) && !field.starts_with('-') {
        return field.to_owned();
    }
    format!("\"{}\"", field.replace('"', "\"\""))
}

/// Nothing was done; the same as for a command line that was not understood.
const NOTHING_DONE: u8 = 2;
