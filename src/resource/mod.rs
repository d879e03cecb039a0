//! The nouns both sides of a diff speak: what a client is made of, wanted or found.
//!
//! Ground floor. Nothing here reads a clock, a file, the environment or the network; everything that is compared is
//! normalised when it is made, so that equality means "nothing to do".

pub mod certificate;
pub mod database;
pub mod deploy_script;
pub mod desired;
pub mod env_file;
pub mod field;
pub mod hex;
pub mod kind;
pub mod letter;
pub mod mark;
pub mod name;
pub mod nginx;
pub mod observed;
pub mod owned;
pub mod reading;
pub mod record;
pub mod release;
pub mod removal;
pub mod secret;
pub mod shell;
pub mod site;
pub mod take_over;
pub mod uptime;
pub mod vhost;
