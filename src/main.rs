//! The command `chunkify`.

fn main() -> std::process::ExitCode {
    chunkify::cli::main()
}
