//! The first part of a connection: what there is, and which of it the client wants.

use super::link::Link;
use super::{Export, MAX_LENGTH, NbdError, sectors_size};

const MAGIC: &[u8; 8] = b"NBDMAGIC";
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_LIST: u32 = 3;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;

const REP_ACK: u32 = 1;
const REP_SERVER: u32 = 2;
const REP_INFO: u32 = 3;
const ERR_UNSUPPORTED: u32 = 0x8000_0001;
const ERR_INVALID: u32 = 0x8000_0003;
const ERR_UNKNOWN: u32 = 0x8000_0006;
const ERR_TOO_BIG: u32 = 0x8000_0009;

const INFO_EXPORT: u16 = 0;
const INFO_NAME: u16 = 1;
const INFO_DESCRIPTION: u16 = 2;
const INFO_BLOCK_SIZE: u16 = 3;

/// What clients should read at once, bytes.
const PREFERRED: u32 = 128 << 10;

const HAS_FLAGS: u16 = 1;
const READ_ONLY: u16 = 1 << 1;
const SEND_FLUSH: u16 = 1 << 2;
const SEND_FUA: u16 = 1 << 3;
const SEND_TRIM: u16 = 1 << 5;
const SEND_WRITE_ZEROES: u16 = 1 << 6;
const CAN_MULTI_CONN: u16 = 1 << 8;

/// Longest option: a name (4,096 bytes at most) and what it is asked about.
const MAX_OPTION: u32 = 64 << 10;
/// Options that a client may send before it decides.
const MAX_OPTIONS: usize = 1000;

impl Export {
    fn flags(&self) -> u16 {
        // All connections see one disk, and a flush concerns what any of them wrote.
        let always = HAS_FLAGS | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN;
        if self.disk.is_writable() {
            always | SEND_TRIM | SEND_WRITE_ZEROES
        } else {
            always | READ_ONLY
        }
    }

    fn is_called(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }
}

/// Talks until the client has chosen; `false` if it wants nothing.
pub(super) fn negotiate(link: &mut Link<'_>, export: &Export) -> Result<bool, NbdError> {
    let flags = (FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes();
    link.voice.say(&[MAGIC, &OPTION_MAGIC.to_be_bytes(), &flags])?;
    let flags = u32::from_be_bytes(link.ears.take()?);
    if flags & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
        return Err(NbdError::Violation("unknown flags"));
    }
    let zeroes = flags & u32::from(NO_ZEROES) == 0;
    for _ in 0..MAX_OPTIONS {
        if u64::from_be_bytes(link.ears.take()?) != OPTION_MAGIC {
            return Err(NbdError::Violation("an option without its magic number"));
        }
        let option = u32::from_be_bytes(link.ears.take()?);
        let length = u32::from_be_bytes(link.ears.take()?);
        if length > MAX_OPTION {
            link.ears.skip(length.into())?;
            reply(link, option, ERR_TOO_BIG, &[b"too long"])?;
            continue;
        }
        let data = link.ears.bytes(usize::try_from(length).unwrap_or(0))?;
        match option {
            OPT_EXPORT_NAME if export.is_called(&data) => {
                let size = sectors_size(&*export.disk).to_be_bytes();
                let padding: &[u8] = if zeroes { &[0; 124] } else { &[] };
                link.voice.say(&[&size, &export.flags().to_be_bytes(), padding])?;
                return Ok(true);
            }
            // There is no answer to this one.
            OPT_EXPORT_NAME => return Err(NbdError::Violation("it wants a disk that is not served here")),
            OPT_ABORT => {
                // The client may be gone already.
                let _ = reply(link, option, REP_ACK, &[]);
                return Ok(false);
            }
            OPT_LIST if data.is_empty() => {
                let length = u32::try_from(export.name.len()).unwrap_or(0).to_be_bytes();
                reply(link, option, REP_SERVER, &[&length, export.name.as_bytes()])?;
                reply(link, option, REP_ACK, &[])?;
            }
            OPT_LIST => reply(link, option, ERR_INVALID, &[b"it takes no data"])?,
            OPT_INFO | OPT_GO => {
                if inform(link, option, &data, export)? && option == OPT_GO {
                    return Ok(true);
                }
            }
            _ => reply(link, option, ERR_UNSUPPORTED, &[])?,
        }
    }
    Err(NbdError::Violation("it never stops asking"))
}

fn reply(link: &mut Link<'_>, option: u32, kind: u32, parts: &[&[u8]]) -> Result<(), NbdError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut head = Vec::with_capacity(20);
    head.extend(REPLY_MAGIC.to_be_bytes());
    head.extend(option.to_be_bytes());
    head.extend(kind.to_be_bytes());
    head.extend(u32::try_from(length).unwrap_or(0).to_be_bytes());
    let mut all: Vec<&[u8]> = vec![&head];
    all.extend(parts);
    link.voice.say(&all)
}

/// Name and what is asked about it; `None` if it is malformed.
fn wish(data: &[u8]) -> Option<(&[u8], Vec<u16>)> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (name, rest) = rest.split_at_checked(length)?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (asked, left) = rest.as_chunks::<2>();
    let whole = left.is_empty() && asked.len() == usize::from(u16::from_be_bytes(*count));
    whole.then(|| (name, asked.iter().map(|item| u16::from_be_bytes(*item)).collect()))
}

/// Tells of the export; `false` if there is none of that name.
fn inform(link: &mut Link<'_>, option: u32, data: &[u8], export: &Export) -> Result<bool, NbdError> {
    let Some((name, asked)) = wish(data) else {
        reply(link, option, ERR_INVALID, &[b"malformed"])?;
        return Ok(false);
    };
    if !export.is_called(name) {
        reply(link, option, ERR_UNKNOWN, &[b"there is no disk of that name here"])?;
        return Ok(false);
    }
    let size = sectors_size(&*export.disk).to_be_bytes();
    let info = [&INFO_EXPORT.to_be_bytes()[..], &size, &export.flags().to_be_bytes()];
    reply(link, option, REP_INFO, &info)?;
    let sizes = [1u32, PREFERRED, MAX_LENGTH].map(u32::to_be_bytes);
    let sizes = sizes.as_flattened();
    for item in [INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE] {
        let text = match item {
            INFO_NAME => export.name.as_bytes(),
            INFO_DESCRIPTION => export.description.as_bytes(),
            _ => sizes,
        };
        if asked.contains(&item) {
            reply(link, option, REP_INFO, &[&item.to_be_bytes(), text])?;
        }
    }
    reply(link, option, REP_ACK, &[])?;
    Ok(true)
}
