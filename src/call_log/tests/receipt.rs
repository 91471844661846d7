//! The receipt that participants get says what is stored, to the letter.

use sotto_signaling::call_log::{Receipt, ReceiptRow};

use super::retention::folder;
use super::*;

#[tokio::test]
async fn the_stored_row_is_the_final_receipt() {
    for (reason, seconds) in [(EndReason::Completed, 61), (EndReason::Failed, 0), (EndReason::Drained, 86_400)] {
        let folder = folder();
        let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
        let ended = EndedCall { reason, ..call(seconds) };
        let before = log.receipt(ended);
        let receipt = log.ended(ended);
        assert_eq!(log.close(Duration::from_secs(5)).await, 0);
        let rows = log.store.rows().await.unwrap();
        assert_eq!(rows.len(), 1, "asking for a receipt stores nothing");
        let row = &rows[0];
        let stored = ReceiptRow {
            ended_day: row.ended_day.clone(),
            duration_minutes: row.duration_minutes as u32,
            peak_participants: row.peak_participants as u32,
            end_reason: EndReason::ALL.iter().find(|(_, name)| *name == row.end_reason).unwrap().0,
            expires_at: row.expires_at,
        };
        assert_eq!(receipt, Receipt { retention_days: 7, row: Some(stored) });
        assert_eq!(before, receipt, "who leaves in the same minute is told the same");
        let told = serde_json::to_value(receipt.row.unwrap()).unwrap();
        for (name, value) in Kept::COLUMNS.iter().zip(row.fields()).filter(|(name, _)| **name != "id") {
            assert_eq!(told[name].to_string().trim_matches('"'), value, "{name}");
        }
        assert_eq!(told.as_object().unwrap().len(), Kept::COLUMNS.len() - 1, "every column but the random id");
    }
}

#[tokio::test]
async fn a_receipt_promises_a_row_only_where_one_is_kept() {
    let folder = folder();
    let nothing = CallLog::open(folder.path(), keep(0), now).await.unwrap();
    let none = Receipt { retention_days: 0, row: None };
    assert_eq!((nothing.receipt(call(60)), nothing.ended(call(60))), (none.clone(), none));
    // A writer that takes nothing any more.
    let (full, writer, inbox) = CallLog::prepare(folder.path(), WEEK, now).await.unwrap();
    drop((writer, inbox));
    assert_eq!(full.ended(call(60)), Receipt { retention_days: 7, row: None });
    assert_eq!(full.totals().lost.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_a_receipt_says_is_gone_then_is_gone_then() {
    let folder = folder();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    let expires = log.ended(call(60)).row.unwrap().expires_at;
    assert_eq!(log.close(Duration::from_secs(5)).await, 0);
    assert_eq!(log.store.purge(expires - 1, WEEK.retention).await.unwrap(), 0);
    assert_eq!(log.store.purge(expires, WEEK.retention).await.unwrap(), 1);
}

use crate::call_log::store::Kept;
