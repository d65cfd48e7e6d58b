//! Pure. The control protocol: requests to the running server through its control socket, and its answers.
//!
//! A connection carries one request and one answer; to a request to watch, it carries answers until one side closes
//! it. Each is one JSON object on a line of its own, with the version of the protocol and of the program that sent it, so
//! that programs of different versions can tell each other that they are:
//!
//! ```text
//! {"protocol":2,"program":"0.1.0","request":{"health":{"max_distance":0.01,"listener":null}}}
//! {"protocol":2,"program":"0.1.0","answer":{"health":{"healthy":true,"reason":"synchronized, ...",...}}}
//! ```
//!
//! Whatever changes in [`ControlRequest`] or [`ControlAnswer`] changes [`VERSION`]: the shape of the two
//! outer fields stays.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{CommandReport, ControlCommand};
pub use super::failure::ControlFailure;
use crate::census::{CensusReport, CensusWanted};
use crate::config::check::CheckReport;
use crate::config::fault::printable;
use crate::config::file;
use crate::observe::client_status::ClientStatus;
use crate::observe::health::{Health, HealthCriteria, ListenerName};
use crate::observe::screen::{Screen, ScreenWanted};

/// Version of the protocol.
pub const VERSION: u32 = 2;

/// The longest request, in bytes.
///
/// That is the longest configuration, of which JSON may double each character (a file with control characters
/// has faults, and is not sent), with its path.
pub const LONGEST_REQUEST: u64 = 2 * file::LONGEST + 64 * 1024;

/// The longest time that a client may take to send its request, or to read the answer.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// A question to the running server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// Everything, as JSON. The answer is a [`ControlAnswer::Report`].
    Status,
    /// All that is known of each upstream, as JSON. The answer is a [`ControlAnswer::Report`].
    Upstreams,
    /// Everything, as lines for people. The answer is a [`ControlAnswer::Screen`].
    Screen(ScreenWanted),
    /// The census of clients. The answer is [`ControlAnswer::Clients`].
    Clients(CensusWanted),
    /// The fate of a request of each of these clients. The answer is [`ControlAnswer::Client`].
    Client {
        /// Their addresses: 1 to [`crate::observe::client_status::MOST_CLIENTS`].
        addresses: Vec<IpAddr>,
        /// The only listener that is asked about; without one all of them.
        listener: Option<ListenerName>,
    },
    /// The curves of the last `seconds` in the memory of the server, as JSON. The answer is a [`ControlAnswer::Report`].
    Curves {
        /// From 1 second to 30 days.
        seconds: u32,
    },
    /// Whether the server is healthy. The answer is a [`ControlAnswer::Health`].
    Health(HealthCriteria),
    /// The same, ten times per second, and each change at once. Answers follow each other until the connection ends.
    WatchHealth(HealthCriteria),
    /// The effect that a reload of a configuration would have. The answer is a [`ControlAnswer::Check`].
    Check {
        /// Path of the file, for messages; it is not read.
        path: String,
        /// Text of the file.
        text: String,
        /// The drop-ins beside it: path and text of each, in their order.
        drop_ins: Vec<(String, String)>,
    },
    /// A command that changes the running server. The answer is a [`ControlAnswer::Command`].
    Command(ControlCommand),
}

impl ControlRequest {
    /// Returns the longest time that the server takes to answer.
    ///
    /// A file with millions of prefixes is read in some seconds, and others may be read before it. All else is
    /// answered at once, unless the server is not well.
    pub const fn answer_timeout(&self) -> Duration {
        match self {
            Self::Check { .. } | Self::Client { .. } => Duration::from_secs(60),
            Self::Command(command) => command.answer_timeout(),
            Self::Status
            | Self::Upstreams
            | Self::Screen(_)
            | Self::Clients(_)
            | Self::Curves { .. }
            | Self::Health(_)
            | Self::WatchHealth(_) => Duration::from_secs(3),
        }
    }

    /// Returns the longest time that a client waits for the answer once it has sent the request.
    ///
    /// It is longer than the server takes, so that no answer comes too late.
    pub const fn client_timeout(&self) -> Duration {
        self.answer_timeout().saturating_add(TRANSFER_TIMEOUT)
    }
}

/// The answer of the running server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlAnswer {
    /// The requested report.
    Report {
        /// The report, its last line end included.
        text: String,
    },
    /// The requested lines.
    Screen(Screen),
    /// The census.
    Clients(CensusReport),
    /// The clients, in the order of the request.
    Client(Vec<ClientStatus>),
    /// The health of the server.
    Health(Health),
    /// The result of a check.
    Check(CheckReport),
    /// The result of a command.
    Command(CommandReport),
    /// An error instead of an answer.
    Failed(ControlFailure),
}

/// The reason why a message of the other side can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// No version: the sender is older than the protocol, or another program.
    NoVersion,
    /// Another version of the protocol.
    OtherVersion {
        /// Version of the protocol.
        protocol: u32,
        /// Version of the program that sent it.
        program: String,
    },
    /// This version, but not readable.
    Unreadable(String),
}

/// The error of a client that got such an answer.
impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion => f.write_str(
                "the running server is older than this program, or not ntpfront: restart it, or use the program of its version",
            ),
            Self::OtherVersion { protocol, program } => write!(
                f,
                "the running server is ntpfront {} (control protocol {protocol}), this program {} (control protocol {VERSION}): restart it, or use the program of its version",
                printable(program),
                env!("CARGO_PKG_VERSION"),
            ),
            Self::Unreadable(why) => write!(f, "unexpected reply (is the server another version?): {}", printable(why)),
        }
    }
}

/// A message of any version.
#[derive(Deserialize)]
struct AnyMessage {
    protocol: u32,
    #[serde(default)]
    program: String,
}

/// A request with its versions.
#[derive(Serialize, Deserialize)]
struct RequestMessage {
    protocol: u32,
    program: String,
    request: ControlRequest,
}

/// An answer with its versions.
#[derive(Serialize, Deserialize)]
struct AnswerMessage {
    protocol: u32,
    program: String,
    answer: ControlAnswer,
}

/// An answer as clients without a protocol version read it: text for both outputs, and an exit status.
#[derive(Serialize)]
struct UnversionedAnswer {
    out: &'static str,
    err: String,
    status: u8,
}

/// Writes the message with `request`.
///
/// # Errors
/// It would be longer than [`LONGEST_REQUEST`].
pub fn write_request(request: ControlRequest) -> Result<String, ControlFailure> {
    let message = line(&RequestMessage {
        protocol: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        request,
    });
    let is_long = u64::try_from(message.len()).is_ok_and(|length| length <= LONGEST_REQUEST);
    is_long.then_some(message).ok_or(ControlFailure::TooLong)
}

/// Reads the request in a `message`.
///
/// # Errors
/// It is of another version, or no request.
pub fn read_request(message: &[u8]) -> Result<ControlRequest, MessageError> {
    let message: RequestMessage = read(message)?;
    Ok(message.request)
}

/// Writes the message with `answer`.
pub fn write_answer(answer: ControlAnswer) -> String {
    line(&AnswerMessage {
        protocol: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        answer,
    })
}

/// Writes the message that says why a request can't be used, in a form that its sender understands.
pub fn write_refusal(error: MessageError) -> String {
    let failure = match error {
        MessageError::NoVersion => {
            return line(&UnversionedAnswer {
                out: "",
                err: format!(
                    "the running server is ntpfront {} and does not know such requests: use the program of its version\n",
                    env!("CARGO_PKG_VERSION")
                ),
                status: 2,
            });
        }
        MessageError::OtherVersion { .. } => ControlFailure::OtherVersion,
        MessageError::Unreadable(why) => ControlFailure::Unreadable(why),
    };
    write_answer(ControlAnswer::Failed(failure))
}

/// Reads the answer in a `message`.
///
/// # Errors
/// It is of another version, or no answer.
pub fn read_answer(message: &[u8]) -> Result<ControlAnswer, MessageError> {
    let message: AnswerMessage = read(message)?;
    Ok(message.answer)
}

fn line(message: &impl Serialize) -> String {
    // All of it are texts, numbers and names: nothing can go wrong.
    serde_json::to_string(message).unwrap_or_default() + "\n"
}

/// The version first: a message of another one may have any shape.
fn read<T: DeserializeOwned>(message: &[u8]) -> Result<T, MessageError> {
    // The library would take the fields of an object from an array, too.
    let is_object = message.trim_ascii_start().starts_with(b"{");
    let any = serde_json::from_slice(message).ok().filter(|_| is_object);
    let AnyMessage { protocol, program } = any.ok_or(MessageError::NoVersion)?;
    if protocol != VERSION {
        return Err(MessageError::OtherVersion { protocol, program });
    }
    serde_json::from_slice(message).map_err(|error| MessageError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use crate::census::ClientOrder;

    use crate::config::check::CheckResult;
    use crate::control::command::UpstreamCommand;
    use crate::observe::screen::{RowOrder, Tone, TonedText};
    use crate::observe::{client_text, clients_text};
    use proptest::prelude::*;

    fn requests() -> impl Strategy<Value = ControlRequest> {
        let order = prop::sample::select(vec![RowOrder::Configured, RowOrder::Worst, RowOrder::Largest]);
        let distance = prop::option::of(prop::num::f64::NORMAL | prop::num::f64::ZERO);
        // Its text has no flow label.
        let socket = any::<SocketAddr>().prop_map(|socket| SocketAddr::new(socket.ip(), socket.port()));
        let listener = prop::option::of(socket.prop_map(ListenerName::Socket));
        prop_oneof![
            Just(ControlRequest::Status),
            Just(ControlRequest::Upstreams),
            (any::<(u16, bool)>(), order).prop_map(|((width, workers), order)| {
                ControlRequest::Screen(ScreenWanted {
                    width,
                    workers,
                    order,
                })
            }),
            (any::<u16>(), any::<(bool, bool)>()).prop_map(|(count, (some, limited))| {
                ControlRequest::Clients(CensusWanted {
                    order: if limited {
                        ClientOrder::Last
                    } else {
                        ClientOrder::Count
                    },
                    prefix: some.then(|| "192.0.2.0/24".parse().unwrap()),
                    limited,
                    count,
                })
            }),
            any::<u32>().prop_map(|seconds| ControlRequest::Curves { seconds }),
            (any::<Vec<IpAddr>>(), listener.clone())
                .prop_map(|(addresses, listener)| ControlRequest::Client { addresses, listener }),
            (distance, listener, any::<bool>()).prop_map(|(max_distance, listener, watch)| {
                let criteria = HealthCriteria {
                    max_distance,
                    listener,
                };
                if watch {
                    ControlRequest::WatchHealth(criteria)
                } else {
                    ControlRequest::Health(criteria)
                }
            }),
            any::<(String, String, Vec<(String, String)>)>()
                .prop_map(|(path, text, drop_ins)| { ControlRequest::Check { path, text, drop_ins } }),
            commands().prop_map(ControlRequest::Command),
        ]
    }

    fn commands() -> impl Strategy<Value = ControlCommand> {
        let listener = any::<Option<SocketAddr>>().prop_map(|listener| {
            // Its text has no flow label.
            listener.map(|listener| SocketAddr::new(listener.ip(), listener.port()))
        });
        prop_oneof![
            Just(ControlCommand::Reload),
            Just(ControlCommand::Refresh),
            (listener.clone(), any::<u32>(), any::<Option<u32>>()).prop_map(|(listener, after, length)| {
                ControlCommand::Drain {
                    listener,
                    after,
                    length,
                }
            }),
            listener.prop_map(|listener| ControlCommand::Undrain { listener }),
            any::<(String, Vec<(String, String)>)>().prop_map(|(address, options)| {
                ControlCommand::Upstream(UpstreamCommand::Add { address, options })
            }),
            any::<String>().prop_map(|address| ControlCommand::Upstream(UpstreamCommand::Remove { address })),
        ]
    }

    fn answers() -> impl Strategy<Value = ControlAnswer> {
        let result = prop::sample::select(vec![
            CheckResult::Accepted,
            CheckResult::NeedsRestart,
            CheckResult::Refused,
        ]);
        let failure = prop_oneof![
            Just(ControlFailure::CensusOff),
            any::<String>().prop_map(ControlFailure::NoListener),
            Just(ControlFailure::ClientCount),
            Just(ControlFailure::TooManyChecks),
            Just(ControlFailure::TooManyWatchers),
            Just(ControlFailure::TooLong),
            Just(ControlFailure::OtherVersion),
            any::<String>().prop_map(ControlFailure::Unreadable),
            any::<String>().prop_map(ControlFailure::Unwritable),
        ];
        prop_oneof![
            any::<String>().prop_map(|text| ControlAnswer::Report { text }),
            any::<String>().prop_map(|text| {
                let state = vec![vec![TonedText {
                    text,
                    tone: Tone::Bad,
                }]];
                ControlAnswer::Screen(Screen {
                    state,
                    ..Screen::default()
                })
            }),
            any::<(bool, String, Vec<String>, u8)>().prop_map(|(healthy, reason, warnings, stratum)| {
                let health = Health {
                    healthy,
                    warnings,
                    stratum: Some(stratum),
                    ..Health::unknown(reason)
                };
                ControlAnswer::Health(health)
            }),
            (result, any::<String>(), any::<String>()).prop_map(|(result, summary, notes)| {
                ControlAnswer::Check(CheckReport {
                    result,
                    summary,
                    notes,
                })
            }),
            failure.prop_map(ControlAnswer::Failed),
            Just(ControlAnswer::Client(vec![client_text::example()])),
            Just(ControlAnswer::Clients(clients_text::example())),
            any::<(String, Vec<String>)>().prop_map(|(summary, details)| {
                ControlAnswer::Command(CommandReport::of_changes(summary, details))
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(request in requests(), answer in answers()) {
            // The server's last answer has all the time that it may take to arrive.
            prop_assert!(request.client_timeout() >= request.answer_timeout() + TRANSFER_TIMEOUT);
            let message = write_request(request.clone()).unwrap();
            prop_assert_eq!(message.lines().count(), 1);
            prop_assert_eq!(read_request(message.as_bytes()), Ok(request));
            let message = write_answer(answer.clone());
            prop_assert_eq!(message.lines().count(), 1);
            prop_assert_eq!(read_answer(message.as_bytes()), Ok(answer));
        }

        /// Whatever comes: it is refused in words, and nothing in them can harm a terminal.
        #[test]
        fn anything_else_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let error = read_request(&bytes).unwrap_err();
            prop_assert!(!write_refusal(error).trim_end().contains(char::is_control));
            let error = read_answer(&bytes).unwrap_err();
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    /// Other programs may use the protocol, too: its shape changes only with the version.
    #[test]
    fn the_shape_of_this_version() {
        let program = env!("CARGO_PKG_VERSION");
        let criteria = HealthCriteria {
            max_distance: Some(0.01),
            listener: "[::1]:123".parse().ok(),
        };
        assert_eq!(
            write_request(ControlRequest::WatchHealth(criteria)).unwrap(),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"request\":{{\"watch-health\":{{\"max_distance\":0.01,\"listener\":\"[::1]:123\"}}}}}}\n"
            )
        );
        let check = ControlRequest::Check {
            path: "a".to_owned(),
            text: "b\n".to_owned(),
            drop_ins: vec![("c".to_owned(), "d".to_owned())],
        };
        assert_eq!(
            write_request(check).unwrap(),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"request\":{{\"check\":{{\"path\":\"a\",\"text\":\"b\\n\",\"drop_ins\":[[\"c\",\"d\"]]}}}}}}\n"
            )
        );
        let drain = ControlRequest::Command(ControlCommand::Drain {
            listener: Some("[::1]:123".parse().unwrap()),
            after: 5,
            length: None,
        });
        assert_eq!(
            write_request(drain).unwrap(),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"request\":{{\"command\":{{\"drain\":{{\"listener\":\"[::1]:123\",\"after\":5,\"length\":null}}}}}}}}\n"
            )
        );
        let changed = CommandReport::changed("s".to_owned());
        assert_eq!(
            write_answer(ControlAnswer::Command(changed)),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"answer\":{{\"command\":{{\"result\":\"changed\",\"summary\":\"s\",\"details\":[]}}}}}}\n"
            )
        );
        assert_eq!(
            write_answer(ControlAnswer::Failed(ControlFailure::CensusOff)),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"answer\":{{\"failed\":\"census-off\"}}}}\n"
            )
        );
        let report = CheckReport {
            result: CheckResult::NeedsRestart,
            summary: "s\n".to_owned(),
            notes: String::new(),
        };
        assert_eq!(
            write_answer(ControlAnswer::Check(report)),
            format!(
                "{{\"protocol\":2,\"program\":\"{program}\",\"answer\":{{\"check\":{{\"result\":\"needs-restart\",\"summary\":\"s\\n\",\"notes\":\"\"}}}}}}\n"
            )
        );
    }

    #[test]
    fn another_version_is_called_by_its_name() {
        for (message, expected) in [
            ("status json", "older than this program"),
            ("", "older than this program"),
            (
                "{\"out\":\"\",\"err\":\"unknown\\n\",\"status\":2}",
                "older than this program",
            ),
            (
                "{\"protocol\":9,\"program\":\"9.9\\u001b\",\"anything\":[]}",
                "ntpfront 9.9\\u{1b} (control protocol 9)",
            ),
            ("{\"protocol\":0}", "(control protocol 0)"),
            (
                "{\"protocol\":2}",
                "unexpected reply (is the server another version?): missing field",
            ),
            (
                "{\"protocol\":2,\"program\":\"\",\"answer\":{\"report\":{\"text\":\"\",\"more\":1}}}",
                "unexpected reply (is the server another version?): unknown field `more`",
            ),
        ] {
            let said = read_answer(message.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(expected), "{message}: {said}");
        }
    }

    #[test]
    fn each_client_understands_why_it_is_refused() {
        let refusal = |message: &str| write_refusal(read_request(message.as_bytes()).unwrap_err());
        for message in ["", "status json", "check /etc/a.toml\n[clock]\n", "{}", "[1]"] {
            let answer: serde_json::Value = serde_json::from_str(&refusal(message)).unwrap();
            assert_eq!((&answer["out"], &answer["status"]), (&"".into(), &2.into()));
            assert!(
                answer["err"]
                    .as_str()
                    .unwrap()
                    .contains("use the program of its version\n"),
                "{answer}"
            );
        }
        let newer = refusal("{\"protocol\":9,\"program\":\"9.9\",\"request\":\"history\"}");
        assert_eq!(
            read_answer(newer.as_bytes()),
            Ok(ControlAnswer::Failed(ControlFailure::OtherVersion))
        );
        let unknown = refusal("{\"protocol\":2,\"program\":\"9.9\",\"request\":\"history\"}");
        let answer = read_answer(unknown.as_bytes()).unwrap();
        let ControlAnswer::Failed(failure) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            failure.to_string().contains("unknown variant `history`"),
            "{failure}"
        );
    }

    /// The longest configuration fits, if it is one that a check could accept.
    #[test]
    fn the_longest_request() {
        let check = |text: String| {
            write_request(ControlRequest::Check {
                path: "/".repeat(4096),
                text,
                drop_ins: Vec::new(),
            })
        };
        let longest = usize::try_from(file::LONGEST).unwrap();
        for character in ["\n", "\"", "\\", "é"] {
            assert!(check(character.repeat(longest / character.len())).is_ok());
        }
        assert_eq!(check("\u{1}".repeat(longest)), Err(ControlFailure::TooLong));
    }
}
