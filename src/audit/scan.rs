//! Searches streams for canaries in all their forms, in bounded memory: pieces of a stream overlap by the longest
//! pattern, so that nothing hides at their borders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, BuildError};

use super::canary::Canary;
use super::decode::{Decoder, Rule};
use super::forms::{Pattern, patterns};

/// Knows every form of every canary.
pub struct Scanner {
    exact: Needles,
    any_case: Needles,
    overlap: usize,
}

/// A canary that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The line of the file of canaries that it stands on. The canary itself is not repeated.
    pub line: usize,
    /// In which form it was found.
    pub form: &'static str,
    /// Where: a file, or a name.
    pub place: PathBuf,
    /// How many bytes into it the first one is; of a decoded stream, about.
    pub at: u64,
    /// How often.
    pub times: u64,
}

/// What was read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Patterns that are searched together.
struct Needles {
    machine: AhoCorasick,
    patterns: Vec<(usize, Pattern)>,
}

/// One stream under search.
struct Search<'a> {
    scanner: &'a Scanner,
    window: Vec<u8>,
    /// How many bytes of the stream lie before the window.
    before: u64,
    /// Matches that end up to here, counted from the stream's begin, are reported already.
    done: u64,
    found: BTreeMap<(usize, &'static str), (u64, u64)>,
}

impl Scanner {
    /// Builds the patterns of canaries, each with its line. Fails when they are too many for one search.
    pub fn new(canaries: &[(usize, Canary)]) -> Result<Self, BuildError> {
        let all = canaries.iter().flat_map(|(line, canary)| patterns(canary).into_iter().map(|form| (*line, form)));
        let (any_case, exact): (Vec<_>, Vec<_>) = all.partition(|(_, pattern)| pattern.any_case);
        let longest = any_case.iter().chain(&exact).map(|(_, pattern)| pattern.bytes.len()).max().unwrap_or(0);
        // One byte more on either side, for what may not stand beside a match.
        Ok(Self { exact: Needles::new(exact, false)?, any_case: Needles::new(any_case, true)?, overlap: longest + 2 })
    }

    /// Searches a file, or a folder with all that is in it, and the names on the way.
    pub fn path(&self, path: &Path, extent: &mut Extent) -> io::Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for entry in entries(path)? {
            if let Some(name) = entry.file_name().filter(|_| entry != path) {
                hits.extend(self.stream(&mut name.as_bytes(), &entry)?.into_iter().map(in_name));
            }
            let kind = match entry.symlink_metadata() {
                // Gone since the folder was listed, as a program's short-lived file may.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?.file_type(),
            };
            if kind.is_symlink() {
                let target = std::fs::read_link(&entry)?;
                hits.extend(self.stream(&mut target.as_os_str().as_bytes(), &entry)?.into_iter().map(in_name));
            } else if kind.is_file() {
                let mut counted = Counted { file: File::open(&entry)?, bytes: 0 };
                hits.extend(self.stream(&mut counted, &entry)?);
                extent.files += 1;
                extent.bytes += counted.bytes;
            }
        }
        Ok(hits)
    }

    /// Searches a stream, as it is and with its escapes undone.
    pub fn stream(&self, stream: &mut dyn Read, place: &Path) -> io::Result<Vec<Hit>> {
        let mut raw = Search::new(self);
        let mut others = [Rule::Percent, Rule::Backslash].map(|rule| (Decoder::new(rule), Search::new(self)));
        let (mut chunk, mut decoded) = (vec![0; CHUNK], Vec::new());
        loop {
            let length = match stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let over = length == 0;
            raw.feed(&chunk[..length], over);
            for (decoder, search) in &mut others {
                decoded.clear();
                decoder.feed(&chunk[..length], &mut decoded);
                if over {
                    decoder.end(&mut decoded);
                }
                search.feed(&decoded, over);
            }
            if over {
                break;
            }
        }
        let mut found = raw.found;
        for ((decoder, search), form) in others.into_iter().zip(["percent-encoded", "escaped"]) {
            // A decoded stream holds all that was not encoded too.
            let mut new = search.found;
            new.retain(|key, _| decoder.changed() && !found.contains_key(key));
            for ((line, _), seen) in new {
                found.entry((line, form)).or_insert(seen);
            }
        }
        let hit = |((line, form), (at, times))| Hit { line, form, place: place.to_owned(), at, times };
        Ok(found.into_iter().map(hit).collect())
    }
}

fn in_name(hit: Hit) -> Hit {
    Hit { form: "in its name", ..hit }
}

/// The path, and all below it where it is a folder.
pub fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    path.metadata()?;
    let mut all = vec![path.to_owned()];
    let mut next = 0;
    while let Some(entry) = all.get(next).cloned() {
        next += 1;
        // A link is told, not followed: it may lead in a circle.
        let kind = if entry == path { entry.metadata() } else { entry.symlink_metadata() };
        if kind.is_ok_and(|kind| kind.is_dir()) {
            let mut inside =
                std::fs::read_dir(&entry)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            inside.sort();
            all.extend(inside);
        }
    }
    Ok(all)
}

impl Needles {
    fn new(patterns: Vec<(usize, Pattern)>, any_case: bool) -> Result<Self, BuildError> {
        let bytes = patterns.iter().map(|(_, pattern)| &pattern.bytes);
        let machine = AhoCorasick::builder().ascii_case_insensitive(any_case).build(bytes)?;
        Ok(Self { machine, patterns })
    }
}

impl<'a> Search<'a> {
    fn new(scanner: &'a Scanner) -> Self {
        Self { scanner, window: Vec::new(), before: 0, done: 0, found: BTreeMap::new() }
    }

    fn feed(&mut self, piece: &[u8], over: bool) {
        self.window.extend_from_slice(piece);
        let end = self.before + self.window.len() as u64;
        // Of a match at the very end it is not known yet what stands behind it.
        let settled = if over { end } else { end.saturating_sub(1) };
        for needles in [&self.scanner.exact, &self.scanner.any_case] {
            for found in needles.machine.find_overlapping_iter(&self.window) {
                let (line, pattern) = &needles.patterns[found.pattern().as_usize()];
                let stop = self.before + found.end() as u64;
                let beside = [found.start().checked_sub(1), Some(found.end())];
                let beside = beside.into_iter().flatten().filter_map(|at| self.window.get(at));
                if stop <= self.done || stop > settled || beside.copied().any(|byte| pattern.border.forbids(byte)) {
                    continue;
                }
                let at = self.before + found.start() as u64;
                self.found.entry((*line, pattern.form)).or_insert((at, 0)).1 += 1;
            }
        }
        self.done = settled;
        let spent = self.window.len().saturating_sub(self.scanner.overlap);
        self.window.drain(..spent);
        self.before += spent as u64;
    }
}

struct Counted {
    file: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// Read at once: large enough that the overlap costs nothing.
const CHUNK: usize = 256 * 1024;

#[cfg(test)]
mod tests;
