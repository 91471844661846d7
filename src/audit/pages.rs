//! Accounts for every byte of the database's file (SQLite's file format, sections 1.3 to 1.6): what is in no row, no
//! header and no pointer must be zero, for else something deleted is still there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use memchr::memmem;

use super::Report;

/// Reads the whole file, page by page.
pub fn account(file: &mut File, report: &mut Report) -> io::Result<()> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let mut head = [0; 100];
    if length == 0 {
        report.checked.push("the database's file is empty".to_owned());
        return Ok(());
    }
    file.read_exact(&mut head)?;
    let size = match u16_at(&head, 16) {
        1 => 65_536,
        size => usize::from(size),
    };
    if !size.is_power_of_two() || size < 512 || !length.is_multiple_of(size as u64) {
        report.findings.push("the database's file is not made of whole pages".to_owned());
        return Ok(());
    }
    let mut account =
        Account { usable: size - usize::from(head[20]), free: free_pages(file, &head, size)?, ..Account::default() };
    file.seek(SeekFrom::Start(0))?;
    let (mut page, mut number) = (vec![0; size], 0);
    while number < length / size as u64 {
        file.read_exact(&mut page)?;
        number += 1;
        account.page(number as u32, &page);
    }
    report.checked.push(format!(
        "{number} pages of the database, of which {} free; {} bytes in no row",
        account.free.len(),
        account.unused
    ));
    account.judge(report);
    Ok(())
}

#[derive(Default)]
struct Account {
    usable: usize,
    /// Free pages, with the number of bytes at their begin that the list of free pages itself takes.
    free: Vec<(u32, usize)>,
    /// Bytes of all rows, behind each other.
    rows: Vec<u8>,
    unused: u64,
    /// What stands where nothing should, with its page.
    remains: Vec<(u32, Vec<u8>)>,
    faults: Vec<(u32, &'static str)>,
}

impl Account {
    fn page(&mut self, number: u32, page: &[u8]) {
        if let Some((_, taken)) = self.free.iter().find(|(free, _)| *free == number) {
            let used = vec![(0, *taken)];
            return self.rest(number, page, used);
        }
        let begin = if number == 1 { 100 } else { 0 };
        match page[begin] {
            // Interior and leaf pages of indexes and of tables.
            2 | 5 | 10 | 13 => match self.tree(page, begin) {
                Some(used) => self.rest(number, page, used),
                None => self.faults.push((number, "is damaged")),
            },
            _ if page.iter().all(|byte| *byte == 0) => self.unused += page.len() as u64,
            _ => self.faults.push((number, "holds something that is no row of the call log")),
        }
    }

    /// The parts of a page of a tree that are in use, as begins and ends.
    fn tree(&mut self, page: &[u8], begin: usize) -> Option<Vec<(usize, usize)>> {
        let kind = page[begin];
        let interior = kind == 2 || kind == 5;
        let header = if interior { 12 } else { 8 };
        let cells = usize::from(u16_at(page, begin + 3));
        let pointers = begin + header + 2 * cells;
        let pointed = page.get(begin + header..pointers)?;
        let mut used = vec![(0, pointers)];
        // Pointers to cells that moved away stay behind the others, with gaps. They tell where on the page something
        // lay and no more; letters are no such pointers, for they would point beyond the page.
        let content = match usize::from(u16_at(page, begin + 5)) {
            0 => page.len(),
            content => content.min(page.len()),
        };
        let stale = (pointers..content.saturating_sub(1)).step_by(2);
        let stale = stale.filter(|at| (begin + header..page.len()).contains(&usize::from(u16_at(page, *at))));
        used.extend(stale.map(|at| (at, at + 2)));
        for index in 0..cells {
            let at = usize::from(u16_at(pointed, 2 * index));
            let end = at + cell(page.get(at..)?, kind, self.usable)?;
            self.rows.extend_from_slice(page.get(at..end)?);
            used.push((at, end));
        }
        // Free blocks: each begins with the next one's place and its own size.
        let mut block = usize::from(u16_at(page, begin + 1));
        while block != 0 {
            page.get(block..block + 4)?;
            used.push((block, block + 4));
            let next = usize::from(u16_at(page, block));
            if next != 0 && next <= block {
                return None;
            }
            block = next;
        }
        Some(used)
    }

    /// Takes note of all that is in no used part and not zero.
    fn rest(&mut self, number: u32, page: &[u8], mut used: Vec<(usize, usize)>) {
        used.sort_unstable();
        used.push((page.len(), page.len()));
        let mut end = 0;
        for (from, to) in used {
            if from > end {
                let gap = &page[end..from];
                self.unused += gap.len() as u64;
                let parts = gap.split(|byte| *byte == 0).filter(|part| !part.is_empty());
                self.remains.extend(parts.map(|part| (number, part.to_vec())));
            }
            end = end.max(to);
        }
    }

    /// Rows that move from page to page leave copies behind. As long as the row is there, its copy tells nothing more,
    /// and both go when it is erased; a copy of what is in no row is a finding.
    fn judge(self, report: &mut Report) {
        let is_copy = |part: &[u8]| pieces_of(part, &self.rows);
        let (copies, remains): (Vec<_>, Vec<_>) = self.remains.into_iter().partition(|(_, part)| is_copy(part));
        if !copies.is_empty() {
            let bytes: usize = copies.iter().map(|(_, part)| part.len()).sum();
            report.checked.push(format!("{bytes} of these are copies of parts of rows that are still there"));
        }
        for (page, part) in remains {
            report
                .findings
                .push(format!("page {page} of the database: {} bytes that are in no row and not erased", part.len()));
        }
        for (page, fault) in self.faults {
            report.findings.push(format!("page {page} of the database {fault}"));
        }
    }
}

/// Whether all of it is made of parts of the rows, none so short that it would fit anywhere.
fn pieces_of(mut part: &[u8], rows: &[u8]) -> bool {
    while !part.is_empty() {
        let fits = |length: &usize| memmem::find(rows, &part[..*length]).is_some();
        let Some(length) = (1..=part.len()).rev().find(fits) else { return false };
        if length < SHORTEST_PIECE && length < part.len() {
            return false;
        }
        part = &part[length..];
    }
    true
}

/// The list of free pages: trunks, which hold the numbers of others, and those others.
fn free_pages(file: &mut File, head: &[u8], size: usize) -> io::Result<Vec<(u32, usize)>> {
    let (mut free, mut trunk) = (Vec::new(), u32_at(head, 32));
    let most = u32_at(head, 36) as usize;
    while trunk != 0 && free.len() < most {
        let mut page = vec![0; size];
        file.seek(SeekFrom::Start((u64::from(trunk) - 1) * size as u64))?;
        file.read_exact(&mut page)?;
        let count = (u32_at(&page, 4) as usize).min(size / 4 - 2);
        free.push((trunk, 8 + 4 * count));
        free.extend((0..count).map(|index| (u32_at(&page, 8 + 4 * index), 0)));
        trunk = u32_at(&page, 0);
    }
    Ok(free)
}

/// How long a cell is that begins here.
fn cell(bytes: &[u8], kind: u8, usable: usize) -> Option<usize> {
    let child = if kind == 2 || kind == 5 { 4 } else { 0 };
    let (first, first_length) = varint(bytes.get(child..)?)?;
    let mut length = child + first_length;
    if kind == 5 {
        return Some(length);
    }
    if kind == 13 {
        length += varint(bytes.get(length..)?)?.1;
    }
    let payload = usize::try_from(first).ok()?;
    let most = if kind == 13 { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if payload > most {
        return None; // spilled over to pages of its own: no value of the call log is that long
    }
    Some((length + payload).max(4))
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((value << 8 | u64::from(byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Shorter parts stand in any file by chance.
const SHORTEST_PIECE: usize = 4;
