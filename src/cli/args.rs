//! What can be said on the command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::encode::Profile;
use crate::image::PlatformFilter;
use crate::plan::cost::Prefer;
use crate::registry::Reference;
use crate::registry::credentials::LoginKey;
use crate::source::Location;

use super::store_args::StoreArgs;

/// Writes OCI layers as zstd:chunked, pulls them in part, and counts the bytes.
///
/// Images are named oci:DIR[:NAME] (an OCI image layout), docker://HOST/REPOSITORY[:TAG|@DIGEST] (a registry), oci-archive:FILE[:NAME]
/// (a layout in a tar) or docker-archive:FILE[:NAME] (what docker save writes and docker load reads).
#[derive(Debug, Parser)]
#[command(name = "chunkify", version, long_version = super::version::long(), max_term_width = 100)]
pub struct Args {
    /// Say more; twice: every request with its ranges, status, bytes and time
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recompress an image's layers as zstd:chunked
    Convert(ConvertArgs),
    /// Send an image from a layout or an archive to a registry
    Push(PushArgs),
    /// Fetch an image into a store, only what the store lacks
    Pull(PullArgs),
    /// Show what an image's layers are: chunked or why not, entries, chunks, sizes
    Inspect(InspectArgs),
    /// Check every digest of an image, down to each frame and the tar of each layer
    Verify(VerifyArgs),
    /// Keep credentials for a registry, where podman and docker look for them
    Login(LoginArgs),
    /// Forget credentials for a registry
    Logout(LogoutArgs),
    /// Make a root file system of an image
    Unpack(UnpackArgs),
    /// Offer a layout's images to pull, for demos and tests; for production use a registry such as zot or quay
    Serve(ServeArgs),
    /// Look after a store: what is in it, what can go, what is damaged
    Store(StoreArgs),
}

/// How registries are spoken to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct RegistryArgs {
    /// Transport
    #[command(flatten)]
    pub transport: TransportArgs,
    /// Credentials; others see them in the process list, so better log in, or set the variable
    #[arg(long, value_name = "USER:PASSWORD", env = "CHUNKIFY_CREDS", hide_env_values = true)]
    pub creds: Option<String>,
    /// The user whose password comes on standard input
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    pub username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// The file with logins [default: those of podman and docker]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
}

/// How connections to registries are made.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct TransportArgs {
    /// Speak HTTP, not HTTPS
    #[arg(long)]
    pub plain_http: bool,
    /// Do not check certificates
    #[arg(long)]
    pub insecure: bool,
    /// Folder with authorities (*.crt) and client certificates (*.cert, *.key) [default: the registry's in certs.d]
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Follow redirects that lead from a public registry into a private network
    #[arg(long)]
    pub allow_private_redirects: bool,
}

/// `chunkify login`
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// The registry, or a namespace of it
    #[arg(value_name = "HOST[/NAMESPACE]")]
    pub registry: LoginKey,
    /// The user [default: asked for]
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Say who is logged in, and change nothing
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub get_login: bool,
    /// The file to keep the login in [default: podman's]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// The same, as docker writes it (config.json)
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    pub compat_auth_file: Option<PathBuf>,
    /// Transport
    #[command(flatten)]
    pub transport: TransportArgs,
}

/// `chunkify logout`
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {
    /// The registry, or a namespace of it
    #[arg(value_name = "HOST[/NAMESPACE]", required_unless_present = "all")]
    pub registry: Option<LoginKey>,
    /// Remove every login from the file
    #[arg(short, long, conflicts_with = "registry")]
    pub all: bool,
    /// The file that the login is in [default: podman's]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// The same, as docker writes it (config.json)
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    pub compat_auth_file: Option<PathBuf>,
}

/// `chunkify convert`
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// The image to convert
    #[arg(value_name = "SRC")]
    pub source: Location,
    /// Where the converted image goes
    #[arg(value_name = "DST")]
    pub destination: Location,
    /// What to spare: time (level 3), the bytes of updates (level 6), or those of blobs that are mostly pulled as a whole (level 15, larger
    /// chunks; seven times the time, half a gigabyte of memory)
    #[arg(long, value_name = "fast|balanced|small", default_value = Profile::default().label(), value_parser = profile)]
    pub profile: Profile,
    /// zstd level, -7 to 22 [default: the profile's]
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-7..=22))]
    pub level: Option<i32>,
    /// One average size of chunks for all files, in bytes, 1024 to 4194304; they are a quarter of it at least and four times it at most
    /// [default: the profile's; balanced has 32 KiB in files of 64 to 256 KiB, and twice that whenever a file is four times as long, up to 1 MiB]
    #[arg(long, value_name = "BYTES")]
    pub chunk_size: Option<u64>,
    /// Put a frame on a block boundary about every BYTES of the blob, so that XFS and btrfs share most blocks of an update with the version
    /// before it; the blob grows by 1.2 % at 65536, the distance when none is given, and by 0.25 % at 262144
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "65536",
        value_parser = clap::value_parser!(u64).range(65_536..=1 << 30))]
    pub align: Option<u64>,
    /// Threads that compress; the result does not depend on it [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Only this platform of an index, such as linux/arm64; repeatable [default: all]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Vec<PlatformFilter>,
    /// Recompress layers that are zstd:chunked already, and those that an earlier run converted
    #[arg(long)]
    pub force: bool,
    /// Fail on a layer that has no faithful zstd:chunked form, rather than keep it as plain zstd
    #[arg(long)]
    pub strict: bool,
    /// Print events as lines of JSON, rather than a bar and a table
    #[arg(long)]
    pub json: bool,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `chunkify push`
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The image to push, oci:DIR[:NAME] or oci-archive:FILE[:NAME]
    #[arg(value_name = "SRC")]
    pub source: Location,
    /// Where it goes
    #[arg(value_name = "docker://…")]
    pub destination: Location,
    /// Another repository of the same registry that has some of the blobs
    #[arg(long, value_name = "REPOSITORY")]
    pub mount_from: Option<String>,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `chunkify pull`
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// The image to pull
    #[arg(value_name = "docker://…", value_parser = reference)]
    pub reference: Reference,
    /// The store: an OCI image layout, made when it is not there
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Another layout whose blobs may be copied from, such as the system's; repeatable
    #[arg(long, value_name = "oci:DIR", value_parser = layout_folder)]
    pub seed: Vec<PathBuf>,
    /// When the pull fails, remove what was fetched rather than keep it for the next attempt
    #[arg(long)]
    pub discard_unfinished: bool,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all_platforms")]
    pub platform: Option<PlatformFilter>,
    /// All images of an index
    #[arg(long)]
    pub all_platforms: bool,
    /// Plan only: say what would be fetched, in how many requests
    #[arg(long)]
    pub dry_run: bool,
    /// Fail when more bytes than this would cross the wire (exit code 3)
    #[arg(long, value_name = "N")]
    pub max_wire_bytes: Option<u64>,
    /// What to save where bytes and time cannot both be saved: bytes (a metered line, a budget), time, or bytes as long as the
    /// whole layer would not come faster (auto)
    #[arg(long, value_name = "auto|bytes|time", default_value = Prefer::default().label(), value_parser = prefer)]
    pub prefer: Prefer,
    /// Write the ledger as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

fn profile(text: &str) -> Result<Profile, &'static str> {
    text.parse()
}

fn prefer(text: &str) -> Result<Prefer, &'static str> {
    text.parse()
}

pub fn reference(text: &str) -> Result<Reference, String> {
    match text.parse() {
        Ok(Location::Registry(reference)) => Ok(reference),
        Ok(Location::Layout { .. }) => {
            Err("an image in a layout need not be pulled: name docker://HOST/REPOSITORY[:TAG]".into())
        }
        Ok(Location::Archive { .. }) => Err(
            "an image in an archive need not be pulled: name docker://HOST/REPOSITORY[:TAG]; convert reads archives"
                .into(),
        ),
        Err(error) => Err(error.to_string()),
    }
}

fn layout_folder(text: &str) -> Result<PathBuf, String> {
    match text.parse() {
        Ok(Location::Layout { dir, name: None }) => Ok(dir),
        _ => Err("name a layout, oci:DIR".into()),
    }
}

/// `chunkify inspect`
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// An image, or a blob file
    #[arg(value_name = "IMAGE|FILE")]
    pub what: String,
    /// Only the image's layers whose digest begins so
    #[arg(long, value_name = "DIGEST")]
    pub layer: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `chunkify verify`
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// An image, or a zstd:chunked blob file
    #[arg(value_name = "IMAGE|FILE")]
    pub what: String,
    /// The digest that a blob file's tar must have
    #[arg(long, value_name = "DIGEST")]
    pub diff_id: Option<crate::digest::Digest>,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `chunkify unpack`
#[derive(Debug, clap::Args)]
pub struct UnpackArgs {
    /// The image to unpack
    #[arg(value_name = "SRC")]
    pub source: Location,
    /// Where its root file system goes: a folder that is empty or does not exist
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<PlatformFilter>,
    /// Make all files yours, note other owners in the attribute user.rootlesscontainers, put empty files in the place of device nodes
    #[arg(long)]
    pub rootless: bool,
    /// The most that its files may take, such as 20GB, holes not counted [default: 4GiB, or 100 times the image's blobs if that is more]
    #[arg(long, value_name = "SIZE", value_parser = super::quantity::size)]
    pub max_size: Option<u64>,
    /// Do not wait until everything is on disk
    #[arg(long)]
    pub no_sync: bool,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `chunkify serve`
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The layout
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Address to listen on; port 0 lets the system choose
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000")]
    pub listen: std::net::SocketAddr,
    /// Allow an address that others can reach; there is no access control
    #[arg(long)]
    pub public: bool,
}
