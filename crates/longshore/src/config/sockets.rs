//! Whether options of sockets can work.

use super::limit::in_range;
use crate::ConfigError;
use longshore_port::{Keepalive, SocketOptions};
use std::time::Duration;

pub(crate) fn check_socket_options(options: &SocketOptions) -> Result<(), ConfigError> {
    if let Some(keepalive) = options.keepalive {
        let default = Keepalive::default();
        for (option, time, default) in [
            ("keepalive.idle", keepalive.idle, default.idle),
            ("keepalive.interval", keepalive.interval, default.interval),
        ] {
            in_range(option, time.as_secs(), 1..=32_767, &default.as_secs().to_string())?;
        }
        let default = default.probes.to_string();
        in_range("keepalive.probes", keepalive.probes, 1..=127, &default)?;
    }
    if let Some(time) = options.user_timeout {
        // What the system keeps in an `int` of milliseconds.
        let most = Duration::from_millis(i32::MAX as u64);
        if !(Duration::from_millis(1)..=most).contains(&time) {
            return Err(ConfigError::OutOfRange {
                option: "user_timeout",
                value: format!("{time:?}"),
                range: "1 ms to 24 days (default: 60s)".into(),
            });
        }
    }
    let most = i32::MAX as u32;
    for (option, bytes) in
        [("send_buf_bytes", options.send_buf_bytes), ("recv_buf_bytes", options.recv_buf_bytes)]
    {
        in_range(option, bytes.unwrap_or(1), 1..=most, "the system's choice")?;
    }
    Ok(())
}
