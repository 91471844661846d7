//! The statement: complete, true to the settings, and of the shape that the example shows.

use serde_json::Value;

use super::*;

fn stated(settings: Settings) -> Value {
    let columns = [
        ("id", "TEXT"),
        ("ended_day", "TEXT"),
        ("duration_minutes", "BIGINT"),
        ("peak_participants", "BIGINT"),
        ("end_reason", "TEXT"),
        ("expires_at", "BIGINT"),
    ];
    let column =
        |(name, kind): (&str, &str)| Column::new("call_log", name.to_owned(), kind.to_owned(), settings.retention);
    let table = Table { name: "call_log".to_owned(), columns: columns.map(column).into() };
    assert!(table.columns.iter().all(Column::is_known));
    let since_start = SinceStart { rows_written: 12, rows_purged: 30, rows_waiting: 0, rows_lost: 0 };
    let stored = Stored { tables: vec![table], rows: 41, oldest_row_age_days: Some(6), since_start };
    serde_json::to_value(statement(settings, Build::sample(), stored)).unwrap()
}

const USUAL: Settings = Settings { tunnel: true, tls: TlsEnd::Relay, retention: Duration::from_secs(7 * 86_400) };

/// Every text in it.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_example_in_the_documents_is_what_is_stated() {
    let example: Value = serde_json::from_str(include_str!("../../docs/transparency.example.json")).unwrap();
    let now = stated(USUAL);
    let text = serde_json::to_string_pretty(&now).unwrap();
    assert!(example == now, "put this into docs/transparency.example.json:\n{text}");
}

#[test]
fn without_retention_nothing_is_said_to_be_stored() {
    let page = stated(Settings { retention: Duration::ZERO, ..USUAL });
    assert_eq!((&page["summary"], &page["retention_days"]), (&"Nothing about calls is stored.".into(), &0.into()));
    for column in page["tables"][0]["columns"].as_array().unwrap() {
        assert_eq!(column["lifetime"], "never written");
    }
    assert!(stated(USUAL)["summary"].as_str().unwrap().contains("after 7 days"));
    let day = stated(Settings { retention: Duration::from_secs(86_400), ..USUAL });
    assert!(day["summary"].as_str().unwrap().contains("after 1 day,"));
}

#[test]
fn a_tunnel_that_is_off_is_stated_as_off() {
    let page = stated(Settings { tunnel: false, ..USUAL });
    assert_eq!((&page["modes"][0]["name"], &page["modes"][0]["on"]), (&"tunnel".into(), &false.into()));
    assert_eq!((&page["modes"][1]["on"], &page["modes"][1]["when"]), (&true.into(), &"always".into()));
    assert!(!page["in_memory"].to_string().contains("tunnel"), "nothing is held of what is not there");
    assert_eq!(stated(USUAL)["modes"][0]["on"], true);
}

#[test]
fn who_ends_tls_is_stated() {
    for (end, name, word) in
        [(TlsEnd::Relay, "relay", "itself"), (TlsEnd::Proxy, "proxy", "a proxy"), (TlsEnd::None, "none", "without TLS")]
    {
        let page = stated(Settings { tls: end, ..USUAL });
        assert_eq!(page["tls"]["ends"], name);
        assert!(page["tls"]["meaning"].as_str().unwrap().contains(word), "{page}");
    }
}

#[test]
fn every_claim_has_its_reason_in_both_modes() {
    let page = stated(USUAL);
    for mode in page["modes"].as_array().unwrap() {
        for (list, keys) in [("sees", &["what", "why", "until"][..]), ("cannot_see", &["what", "why"])] {
            let items = mode[list].as_array().unwrap();
            assert!(items.len() > 3, "{list}");
            for item in items {
                assert!(keys.iter().all(|key| item[key].as_str().is_some_and(|text| text.len() > 5)), "{item}");
            }
        }
    }
    let keys = |mode: usize| page["modes"][mode]["sees"].to_string().contains("encryption's keys");
    assert_eq!((keys(0), keys(1)), (false, true), "only the forwarded mode has keys of the outer encryption");
}

#[test]
fn a_column_that_nobody_wrote_about_shows_as_such() {
    for (table, column) in [("call_log", "address"), ("visits", "id")] {
        let column = Column::new(table, column.to_owned(), "TEXT".to_owned(), USUAL.retention);
        assert!(!column.is_known());
        assert_eq!(serde_json::to_value(column).unwrap()["meaning"], Value::Null);
    }
}

#[test]
fn it_names_no_address_and_no_path() {
    let page = stated(USUAL);
    for text in texts(&page) {
        assert!(!text.contains("://") && !text.contains("./") && text.parse::<std::net::IpAddr>().is_err(), "{text}");
    }
}

#[test]
fn the_executable_is_hashed_beside_the_start() {
    let hashes = build::Hashes::begin();
    let mut build = Value::Null;
    while !build["executable_sha256"].is_string() {
        std::thread::yield_now();
        build = serde_json::to_value(hashes.now()).unwrap();
    }
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(build["executable_sha256"], expected);
}
