//! Progress on a terminal; silence elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of bytes on standard error.
pub fn bar(total: u64, message: String) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
    let style = "{msg}  {wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is right").progress_chars("=> "));
    bar.set_message(message);
    bar
}

/// Bytes that grow towards no known total.
pub fn counter(message: String) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    let style = "{msg}  {decimal_bytes}  {decimal_bytes_per_sec}  {elapsed}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
    bar.set_message(message);
    bar
}
