//! The call log: one row per finished call, written once, purged when its time is over. [`store`] holds the SQL.

pub mod store;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sotto_signaling::call_log::{BoxFuture, EndedCall, Receipt, TransparencyError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::transparency::build::Hashes;
use crate::transparency::{Column, Settings, SinceStart, Statement, Stored, Table, statement};

pub use store::StoreError;
use store::{Row, Store};

/// Asks for the wall clock; given in, so that tests own the time.
pub type Clock = fn() -> SystemTime;

/// The call log of this node. Dropping it without [`CallLog::close`] loses what still waits to be written.
pub struct CallLog {
    store: Store,
    settings: Settings,
    hashes: Hashes,
    clock: Clock,
    orders: mpsc::Sender<Order>,
    totals: Arc<Totals>,
}

/// What was written, purged and lost since start.
#[derive(Default)]
pub struct Totals {
    /// Rows written.
    pub written: AtomicU64,
    /// Rows purged because their time was over.
    pub purged: AtomicU64,
    /// Rows that wait for a store that does not take them now.
    pub waiting: AtomicU64,
    /// Rows that found no room in memory while the store failed.
    pub lost: AtomicU64,
}

enum Order {
    Write(Row),
    Close(oneshot::Sender<usize>),
}

impl CallLog {
    /// Opens the store in the folder and purges it before it returns, so that nothing outlives a restart. With no
    /// retention nothing is written, nor is the folder made; what an earlier setting left is erased. The settings are
    /// also what `/transparency` states.
    pub async fn open(folder: &Path, settings: Settings, clock: Clock) -> Result<Self, StoreError> {
        let (log, writer, inbox) = Self::prepare(folder, settings, clock).await?;
        tokio::spawn(writer.run(inbox));
        Ok(log)
    }

    async fn prepare(
        folder: &Path,
        settings: Settings,
        clock: Clock,
    ) -> Result<(Self, Writer, mpsc::Receiver<Order>), StoreError> {
        let retention = settings.retention;
        let totals = Arc::new(Totals::default());
        let deadline = Instant::now() + LOCKED_AT_MOST;
        let store = loop {
            match purged(folder, &totals, clock, retention).await {
                // Who copies the folder holds a lock for a while. To serve before the purge is done would be wrong.
                Err(StoreError::Locked) if Instant::now() < deadline => tokio::time::sleep(LOCKED_RETRY).await,
                outcome => break outcome?,
            }
        };
        let (orders, inbox) = mpsc::channel(MOST_WAITING);
        let writer = Writer {
            store: store.clone(),
            retention,
            clock,
            totals: totals.clone(),
            waiting: VecDeque::new(),
            purged_at: clock(),
            failing: false,
        };
        Ok((Self { store, settings, hashes: Hashes::begin(), clock, orders, totals }, writer, inbox))
    }

    /// Counts for the metrics.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Writes what waits, for at most `patience`. Returns the number of rows that could not be written.
    pub async fn close(&self, patience: Duration) -> usize {
        let (told, answer) = oneshot::channel();
        let close = async {
            self.orders.send(Order::Close(told)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(patience, close).await.ok().flatten().unwrap_or(MOST_WAITING)
    }

    /// What is stored of a call that ended now.
    fn row_of(&self, call: EndedCall) -> Option<Row> {
        let retention = self.settings.retention;
        (!retention.is_zero()).then(|| Row::new(call, seconds((self.clock)()), retention))
    }

    fn receipt_of(&self, row: Option<&Row>) -> Receipt {
        let retention_days = u32::try_from(self.settings.retention.as_secs() / DAY).unwrap_or(u32::MAX);
        Receipt { retention_days, row: row.map(Row::receipt) }
    }

    async fn describe(&self) -> Result<Statement, StoreError> {
        let today = day_number(&day(seconds((self.clock)())));
        let mut tables = Vec::new();
        for name in self.store.tables().await? {
            let columns = self.store.columns(&name).await?.into_iter();
            let columns =
                columns.map(|(column, kind)| Column::new(&name, column, kind, self.settings.retention)).collect();
            tables.push(Table { name, columns });
        }
        let (rows, oldest) = self.store.extent().await?;
        let oldest_row_age_days = oldest.and_then(|day| Some(today? - day_number(&day)?));
        let stored = Stored { tables, rows, oldest_row_age_days, since_start: self.totals.now() };
        Ok(statement(self.settings, self.hashes.now(), stored))
    }
}

impl Totals {
    fn now(&self) -> SinceStart {
        SinceStart {
            rows_written: self.written.load(Ordering::Relaxed),
            rows_purged: self.purged.load(Ordering::Relaxed),
            rows_waiting: self.waiting.load(Ordering::Relaxed),
            rows_lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

impl sotto_signaling::call_log::CallLog for CallLog {
    fn ended(&self, call: EndedCall) -> Receipt {
        let row = self.row_of(call);
        let receipt = self.receipt_of(row.as_ref());
        let Some(row) = row else { return receipt };
        if self.orders.try_send(Order::Write(row)).is_err() {
            self.totals.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the call log cannot be written and too much waits already: a row is lost");
            return self.receipt_of(None);
        }
        receipt
    }

    fn receipt(&self, call: EndedCall) -> Receipt {
        self.receipt_of(self.row_of(call).as_ref())
    }

    fn transparency(&self) -> BoxFuture<'_, Result<serde_json::Value, TransparencyError>> {
        Box::pin(async {
            let statement = self.describe().await.map_err(|error| {
                tracing::warn!("the call log cannot be read: {error}");
                TransparencyError
            })?;
            Ok(serde_json::to_value(statement).expect("names and numbers are JSON"))
        })
    }
}

struct Writer {
    store: Store,
    retention: Duration,
    clock: Clock,
    totals: Arc<Totals>,
    waiting: VecDeque<Row>,
    purged_at: SystemTime,
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // What waits in memory bounds what is taken from the channel, so both together are bounded.
            let open = self.waiting.len() < MOST_WAITING;
            tokio::select! {
                order = inbox.recv(), if open => match order {
                    Some(Order::Write(row)) => self.waiting.push_back(row),
                    Some(Order::Close(told)) => {
                        self.write().await;
                        let _ = told.send(self.waiting.len());
                        continue;
                    }
                    None => return,
                },
                _ = tick.tick() => self.purge_when_due().await,
            }
            self.write().await;
        }
    }

    async fn write(&mut self) {
        self.write_while_it_works().await;
        self.totals.waiting.store(self.waiting.len() as u64, Ordering::Relaxed);
    }

    async fn write_while_it_works(&mut self) {
        while let Some(row) = self.waiting.front() {
            let outcome = self.store.insert(row).await;
            self.note(&outcome);
            if outcome.is_err() {
                return;
            }
            self.totals.written.fetch_add(1, Ordering::Relaxed);
            self.waiting.pop_front();
        }
    }

    /// By the wall clock, so that a machine that slept purges when it wakes, and a clock set back is noticed.
    async fn purge_when_due(&mut self) {
        let now = (self.clock)();
        if now.duration_since(self.purged_at).is_ok_and(|since| since < PURGE_EVERY) {
            return;
        }
        let outcome = purge(&self.store, &self.totals, now, self.retention).await;
        self.note(&outcome);
        if outcome.is_ok() {
            self.purged_at = now;
        }
    }

    /// One line when the store begins to fail and one when it works again, not one per try.
    fn note<T>(&mut self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(error) if !self.failing => tracing::error!("the call log cannot be written, trying again: {error}"),
            Ok(_) if self.failing => tracing::info!("the call log can be written again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

async fn purged(folder: &Path, totals: &Totals, clock: Clock, retention: Duration) -> Result<Store, StoreError> {
    let store = Store::open(folder, !retention.is_zero()).await?;
    purge(&store, totals, clock(), retention).await?;
    Ok(store)
}

/// Counts what was deleted even when the rest fails, for the next try does not find it any more.
async fn purge(store: &Store, totals: &Totals, now: SystemTime, retention: Duration) -> Result<(), StoreError> {
    let purged = store.purge(seconds(now), retention).await?;
    totals.purged.fetch_add(purged, Ordering::Relaxed);
    store.scrub().await
}

/// Unix seconds.
pub fn seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The UTC day of a Unix time, as ISO 8601.
fn day(seconds: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(format).expect("a date of this era formats")
}

pub(crate) fn day_number(day: &str) -> Option<i64> {
    let mut parts = day.splitn(3, '-');
    let mut next = || parts.next()?.parse::<u16>().ok();
    let (year, month, date) = (next()?, next()?, next()?);
    let month = time::Month::try_from(month as u8).ok()?;
    Some(time::Date::from_calendar_date(i32::from(year), month, date as u8).ok()?.to_julian_day().into())
}

const DAY: u64 = 86_400;
/// Half of the hour within which a row is promised to be gone, so that a try that fails can be repeated in time.
const PURGE_EVERY: Duration = Duration::from_secs(1_800);
/// How often a failed write or purge is tried again, and the clock looked at.
const TICK: Duration = Duration::from_secs(10);
/// How long a start waits for who holds the database: a copy of the folder takes less.
const LOCKED_AT_MOST: Duration = Duration::from_secs(10);
/// Between two tries of it, beside the time that the database itself waits.
const LOCKED_RETRY: Duration = Duration::from_millis(100);
/// Rows kept in memory while the disk is full: a day of a busy relay, about a megabyte.
const MOST_WAITING: usize = 10_000;

#[cfg(test)]
mod tests;
