//! Plans from TOML: what a file leaves out is as its scenario has it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::plan::{Plan, Scenario};

/// A file that is no plan.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum FileError {
    #[error("--plan {0} cannot be read: {1}; check the path")]
    Unreadable(PathBuf, std::io::Error),
    #[error("--plan {file}, line {line}: {message}")]
    Wrong { file: PathBuf, line: usize, message: String },
}

impl Plan {
    /// Reads a file; `scenario`, where given, stands in the place of the one that it names.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is not TOML, or has what a plan has not.
    pub fn read(path: &Path, scenario: Option<Scenario>) -> Result<Plan, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| FileError::Unreadable(path.to_owned(), error))?;
        Self::from_toml(&text, scenario).map_err(|error| FileError::Wrong {
            file: path.to_owned(),
            line: error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1),
            message: error.message().replace('\n', " "),
        })
    }

    /// As [`Plan::read`], of a text.
    ///
    /// # Errors
    ///
    /// Where it is not TOML, or has what a plan has not.
    pub fn from_toml(text: &str, scenario: Option<Scenario>) -> Result<Plan, toml::de::Error> {
        // Read once for its faults, which this way have a line, and for the scenario, whose defaults lie below it.
        let read: Plan = toml::from_str(text)?;
        let scenario = scenario.unwrap_or(read.scenario);
        let mut table = Table::try_from(Plan::of(scenario)).expect("a plan is a table");
        lay_over(&mut table, text.parse()?);
        Ok(Plan { scenario, ..table.try_into()? })
    }
}

fn lay_over(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(below.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Layer, VideoCodec};

    #[test]
    fn an_empty_plan_is_the_scenario_as_it_comes() {
        assert_eq!(Plan::from_toml("", None).unwrap(), Plan::default());
        assert_eq!(Plan::from_toml("scenario = \"webinar\"", None).unwrap(), Plan::of(Scenario::Webinar));
        assert_eq!(Plan::from_toml("", Some(Scenario::Soak)).unwrap(), Plan::of(Scenario::Soak));
    }

    #[test]
    fn what_a_file_says_wins_and_what_it_leaves_out_stays() {
        let text = "
            scenario = 'churn'
            calls = 3
            duration = '1m'
            join-over = 4
            fail-if = ['loss>1%']
            [video]
            codec = 'vp9'
            layers = [{ height = 180, bitrate = 150_000 }, { height = 360, bitrate = 500_000 }]
            [network.up]
            loss = 0.05
            [churn]
            per-second = 2";
        let plan = Plan::from_toml(text, None).unwrap();
        assert_eq!((plan.calls, plan.participants), (3, Plan::of(Scenario::Churn).participants));
        assert_eq!((plan.duration, plan.join_over), (Duration::from_secs(60), Duration::from_secs(4)));
        assert_eq!((plan.video.codec, plan.video.fps), (VideoCodec::Vp9, 30));
        assert_eq!(plan.video.layers[1], Layer { height: 360, bitrate: 500_000 });
        assert_eq!((plan.network.up.loss, plan.network.down.loss), (0.05, 0.0));
        assert_eq!((plan.churn.per_second, plan.fail_if.len()), (2.0, 1));
    }

    #[test]
    fn every_plan_is_read_back_as_it_was_written() {
        for scenario in Scenario::ALL {
            let plan = Plan::of(scenario);
            assert_eq!(Plan::from_toml(&toml::to_string(&plan).unwrap(), None).unwrap(), plan);
        }
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        for (text, line, word) in [
            ("calls = 1\nparticipant = 2", 2, "participant"),
            ("calls = 1\n\n[video]\nfps = 'many'", 4, "u32"),
            ("duration = -1", 1, "from 0"),
            ("duration = 'soon'", 1, "no duration"),
            ("calls =", 1, "value"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = Plan::read(&path, None).unwrap_err().to_string();
            assert!(said.contains(&format!("line {line}: ")) && said.contains(word), "{said}");
        }
        let said = Plan::read(&folder.path().join("none.toml"), None).unwrap_err().to_string();
        assert!(said.contains("check the path"), "{said}");
    }
}
