//! A member of the call as the page has it: the page's own code under `node`, in the test's time.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use sotto_signaling::message::ParticipantId;

use super::world::Told;
use crate::clock::Moment;

/// The process, and what it said that nobody took yet.
pub struct Page {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub sent: VecDeque<(Option<ParticipantId>, String)>,
    pub told: VecDeque<Told>,
    next: Option<f64>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    sent: Vec<Sent>,
    told: Vec<Value>,
    next: Option<f64>,
}

#[derive(Deserialize)]
struct Sent {
    to: Option<ParticipantId>,
    data: String,
}

impl Page {
    pub fn open(now: Moment, link: &str, name: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2ee/page.js");
        let mut process = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the page's side runs under node: have Node.js on the PATH");
        let requests = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut page = Self { process, requests, answers, sent: VecDeque::new(), told: VecDeque::new(), next: None };
        page.ask(now, "open", json!({ "link": link, "name": name }));
        page
    }

    /// Tells the page something; what it answers.
    pub fn ask(&mut self, now: Moment, method: &str, mut request: Value) -> Value {
        request["method"] = method.into();
        request["at"] = (now.0 as f64 / 1e6).into();
        writeln!(self.requests, "{request}").expect("the page takes requests");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the page answers");
        let answer: Answer = serde_json::from_str(&line).expect("the page answers whole");
        self.sent.extend(answer.sent.into_iter().map(|Sent { to, data }| (to, data)));
        self.told.extend(answer.told.iter().filter_map(told));
        self.next = answer.next;
        answer.result
    }

    pub fn next_timeout(&self) -> Option<Moment> {
        self.next.map(|milliseconds| Moment((milliseconds * 1e6).round() as u64))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn told(event: &Value) -> Option<Told> {
    let id = |value: &Value| serde_json::from_value::<ParticipantId>(value.clone()).expect("ids are ids");
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    match event["type"].as_str()? {
        "roster" => {
            let participants = event["participants"].as_array()?.iter();
            Some(Told::Roster(
                participants
                    .map(|each| (id(&each["id"]), each["name"].as_str().unwrap_or_default().to_owned()))
                    .collect(),
            ))
        }
        "code" => Some(Told::Code(text("code"))),
        "removed" => Some(Told::Removed),
        "keyframe" => Some(Told::KeyFrame),
        "message" => Some(Told::Message(id(&event["participant"]), text("kind"), event["body"].clone())),
        "unverified" => Some(Told::Unverified(id(&event["participant"]), text("why"))),
        "disagreement" => {
            let first = event["participants"].as_array()?.first()?;
            Some(Told::Unverified(id(&first["id"]), "disagreement".to_owned()))
        }
        _ => None,
    }
}
