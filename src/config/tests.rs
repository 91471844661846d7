//! Settings: precedence, defaults, and one clear line for each mistake.

use super::*;

fn parse(flags: &[&str]) -> Result<Config, String> {
    let args = std::iter::once("sotto").chain(flags.iter().copied()).map(OsString::from);
    match Config::from_args(args) {
        Ok(Request::Run(config)) => Ok(*config),
        Ok(Request::Print(text)) => panic!("printed {text}"),
        Ok(Request::Records(_)) => panic!("asked for records"),
        Err(error) => Err(error.to_string()),
    }
}

fn printed(flag: &str) -> String {
    match Config::from_args(["sotto", flag].map(OsString::from)) {
        Ok(Request::Print(text)) => text,
        _ => panic!("{flag} prints"),
    }
}

fn with_file(text: &str, flags: &[&str]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    parse(&[&["--config", path], flags].concat()).map_err(|error| error.replace(path, "FILE"))
}

#[test]
fn without_flags_it_serves_this_machine_alone() {
    let config = parse(&[]).unwrap();
    assert!(config.http.ip().is_loopback() && config.admin.ip().is_loopback());
    assert_eq!(config.media_ips[0], IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(config.media_ips.get(1), own_address().as_ref(), "without a network loopback is all there is");
    assert_eq!(config.media_bind.is_loopback(), config.media_ips.len() == 1);
    assert_eq!(config.media_port, 3478);
    assert_eq!(config.retention, Duration::from_secs(7 * 86_400));
    assert_eq!(config.workers, cores());
    assert!(config.tls.is_none() && config.drain.is_zero() && config.hosts.is_empty());
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let text = "http = '127.0.0.1:1111'\nretention-days = 3\nmedia-ip = ['127.0.0.1', '::1']\nworkers = 2\n";
    let config = with_file(text, &["--retention-days", "5"]).unwrap();
    assert_eq!(config.http.port(), 1111);
    assert_eq!(config.retention, Duration::from_secs(5 * 86_400));
    assert_eq!(config.media_ips.len(), 2);
    assert_eq!(config.workers, 2);
    assert_eq!(config.media_bind, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let config = with_file("media-ip = '127.0.0.1,127.0.0.2'", &["--media-ip", "127.0.0.3"]).unwrap();
    assert_eq!(config.media_ips, ["127.0.0.3".parse::<IpAddr>().unwrap()]);
}

#[test]
fn the_tunnel_is_on_until_it_is_turned_off() {
    assert!(parse(&[]).unwrap().tunnel);
    assert!(!parse(&["--tunnel", "off"]).unwrap().tunnel);
    assert!(!with_file("tunnel = 'off'", &[]).unwrap().tunnel);
    assert!(with_file("tunnel = 'off'", &["--tunnel", "on"]).unwrap().tunnel);
}

#[test]
fn every_mistake_is_one_line_that_names_the_setting() {
    let mistakes: [(&[&str], &str); 17] = [
        (&["--tunnel", "perhaps"], "--tunnel"),
        (&["--retention-days", "91"], "--retention-days"),
        (&["--retention-days", "-1"], "--retention-days"),
        (&["--workers", "0"], "--workers"),
        (&["--http", "localhost"], "--http"),
        (&["--http", "0.0.0.0:80"], "--media-ip"),
        (&["--media-ip", "0.0.0.0"], "--media-ip"),
        (&["--media-ip", "::1", "--media-bind", "0.0.0.0"], "--media-bind"),
        (&["--media-ip", "10.0.0.1", "--media-bind", "::1"], "--media-bind"),
        (&["--media-port", "65535", "--workers", "2"], "65534"),
        (&["--media-port", "70000"], "--media-port"),
        (&["--tls-cert", "x.pem"], "--tls-key"),
        (&["--tls-key", "x.pem"], "--tls-cert"),
        (&["--tls-cert", "/nowhere/x.pem", "--tls-key", "y.pem"], "/nowhere/x.pem"),
        (&["--host", "https://meet.example.org/"], "meet.example.org"),
        (&["--nonsense"], "--nonsense"),
        (&["--config", "/nowhere/sotto.toml"], "/nowhere/sotto.toml"),
    ];
    for (flags, expected) in mistakes {
        let line = parse(flags).unwrap_err();
        assert!(line.contains(expected), "{flags:?}: {line}");
        assert!(!line.contains('\n'), "{flags:?}: {line}");
    }
}

#[test]
fn mistakes_in_the_file_name_the_file_and_the_setting() {
    for (text, expected) in [
        ("retention-days = 91", "--retention-days"),
        ("retention = 3", "`retention` is no setting"),
        ("http = true", "`http` must be"),
        ("config = 'other.toml'", "`config` is no setting"),
        ("\nhttp = ", "line 2"),
    ] {
        let line = with_file(text, &[]).unwrap_err();
        assert!(line.contains(expected) && !line.contains('\n'), "{text}: {line}");
    }
}

#[test]
fn hosts_follow_the_listening_address() {
    let hosts = |address: &str, tls| hosts_of(address.parse().unwrap(), &["192.0.2.9".parse().unwrap()], tls);
    assert_eq!(hosts("127.0.0.1:8080", false), ["127.0.0.1:8080", "localhost:8080"]);
    assert_eq!(hosts("[::1]:443", true), ["[::1]", "localhost"]);
    assert_eq!(hosts("192.0.2.7:443", false), ["192.0.2.7:443"]);
    assert_eq!(hosts("0.0.0.0:80", false), ["192.0.2.9", "127.0.0.1", "[::1]", "localhost"]);
}

#[test]
fn the_table_of_knobs_has_a_reason_and_a_unit_for_each() {
    let table = printed("--knobs");
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows.len(), Flags::command().get_arguments().filter(|arg| arg.get_env().is_some()).count());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        let name = cells[1].trim_matches('`').trim_start_matches("--").to_uppercase().replace('-', "_");
        assert_eq!(cells[2], format!("`SOTTO_{name}`"));
        assert!(!cells[4].is_empty() && cells[5].len() > 20, "{row}");
    }
}

#[test]
fn help_teaches_and_version_is_the_packages() {
    let help = printed("--help");
    assert!(help.contains("--tls-cert cert.pem") && help.contains("SOTTO_MEDIA_IP"), "{help}");
    assert!(printed("--version").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_example_file_is_valid_and_says_the_defaults() {
    let example = include_str!("../../sotto.example.toml");
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n");
    let file = with_file(&uncommented, &[]).unwrap();
    let default = parse(&[]).unwrap();
    assert_eq!((file.http, file.admin, file.caps), (default.http, default.admin, default.caps));
    assert_eq!((file.retention, file.media_port, file.drain), (default.retention, default.media_port, default.drain));
    assert_eq!((file.media_ips[0], file.data_dir), (default.media_ips[0], default.data_dir));
}

#[test]
fn the_readme_shows_the_table_of_settings() {
    let table = printed("--knobs");
    assert!(include_str!("../../README.md").contains(&table), "put this table into README.md:\n{table}");
}
