//! The schema and every value of the call log, held against what is documented of them.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Error, Row as _};

use sotto_signaling::call_log::EndReason;

use super::Report;
use crate::call_log::day_number;
use crate::call_log::store::Kept;
use crate::transparency::{ERASED_WITHIN, MOST_RETENTION};

/// Tells every table, index, trigger and column that is not the call log's.
pub async fn schema(sql: &mut SqliteConnection, report: &mut Report) -> Result<(), Error> {
    let all: Vec<(String, String)> =
        sqlx::query_as("SELECT type, name FROM sqlite_master ORDER BY name").fetch_all(&mut *sql).await?;
    for (kind, name) in &all {
        match (kind.as_str(), name.as_str()) {
            ("table", "call_log") => {}
            ("index", "sqlite_autoindex_call_log_1") => {}
            _ => report.findings.push(format!("the {kind} {name:?} is no part of the call log")),
        }
    }
    if !all.iter().any(|(kind, name)| kind == "table" && name == "call_log") {
        report.findings.push("there is no table call_log".to_owned());
    }
    let columns: Vec<String> =
        sqlx::query_scalar("SELECT name FROM pragma_table_info('call_log')").fetch_all(&mut *sql).await?;
    for column in columns.iter().filter(|column| !Kept::COLUMNS.contains(&column.as_str())) {
        report.findings.push(format!("the column {column:?} is no part of the call log"));
    }
    report.checked.push(format!("the schema: {} tables and indexes, {} columns", all.len(), columns.len()));
    Ok(())
}

/// Tells every value that is not of the documented form, and every row that should be gone. No value is repeated.
pub async fn rows(sql: &mut SqliteConnection, now: i64, report: &mut Report) -> Result<(), Error> {
    let (mut after, mut total) = (i64::MIN, 0_u64);
    loop {
        let query = sqlx::query("SELECT rowid AS place, * FROM call_log WHERE rowid > $1 ORDER BY rowid LIMIT 1000");
        let rows: Vec<SqliteRow> = match query.bind(after).fetch_all(&mut *sql).await {
            // Without the table there are no rows, and that is told already.
            Err(Error::Database(_)) if total == 0 => return Ok(()),
            rows => rows?,
        };
        let Some(last) = rows.last() else { break };
        after = last.try_get("place")?;
        for row in &rows {
            total += 1;
            report.findings.extend(faults(row, now).into_iter().map(|fault| format!("row {total}: {fault}")));
        }
    }
    report.checked.push(format!("{total} rows, each value against its documented form, and against its time"));
    Ok(())
}

fn faults(row: &SqliteRow, now: i64) -> Vec<&'static str> {
    let text = |column| row.try_get::<String, _>(column).ok();
    let number = |column| row.try_get::<i64, _>(column).ok();
    let within =
        |column, range: std::ops::RangeInclusive<i64>| number(column).is_some_and(|value| range.contains(&value));
    let mut faults = Vec::new();
    let hex = |id: &String| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !text("id").as_ref().is_some_and(hex) {
        faults.push("id is not 32 hex digits");
    }
    let day = text("ended_day").filter(|day| day.len() == 10).and_then(|day| day_number(&day));
    let today = now.div_euclid(DAY) + EPOCH;
    match day {
        None => faults.push("ended_day is no day"),
        // A day's difference: clocks are set, and a row written just before midnight is read just after.
        Some(day) if day > today + 1 => faults.push("ended_day lies ahead; was the clock wrong?"),
        Some(_) => {}
    }
    if !within("duration_minutes", 1..=LONGEST_MINUTES) {
        faults.push("duration_minutes is no number of minutes");
    }
    if !within("peak_participants", 1..=MOST_PARTICIPANTS) {
        faults.push("peak_participants is no number of people");
    }
    if !text("end_reason").is_some_and(|reason| EndReason::ALL.iter().any(|(_, name)| *name == reason)) {
        faults.push("end_reason is not completed, failed or drained");
    }
    let Some(expires) = number("expires_at") else {
        faults.push("expires_at is no time");
        return faults;
    };
    if expires % HOUR != 0 {
        faults.push("expires_at is not to the hour");
    }
    let most = MOST_RETENTION.as_secs() as i64;
    let end_of_day = day.map(|day| (day - EPOCH + 1) * DAY);
    if expires > now + most || end_of_day.is_some_and(|end| expires > end + most) {
        faults.push("expires_at lies beyond the longest retention that can be set");
    }
    if expires + (ERASED_WITHIN.as_secs() as i64) < now {
        faults.push("it should be erased for more than an hour; is the relay running?");
    }
    faults
}

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// The Julian day of 1970-01-01.
const EPOCH: i64 = 2_440_588;
/// Ten years: longer than any relay runs.
const LONGEST_MINUTES: i64 = 10 * 366 * 24 * 60;
/// What `--max-participants` takes at most.
const MOST_PARTICIPANTS: i64 = 10_000;
