//! The 12-digit numbers of persons (IIN) and organisations (BIN) of the Republic of Kazakhstan.

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::IdError;

/// A person's individual identification number (IIN, ЖСН): 12 digits whose date, century and checksum hold.
///
/// Personal data: `Debug` never shows the digits, and they are wiped on drop.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct Iin([u8; 12]);

/// An organisation's business identification number (BIN, БСН): 12 digits whose month, type and checksum hold.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bin([u8; 12]);

impl Iin {
    /// The 12 digits. Personal data: never log or print them.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII digits are admitted")
    }
}

impl FromStr for Iin {
    type Err = IdError;

    /// YYMMDD, then century and sex (1 and 2: 1800s, 3 and 4: 1900s, 5 and 6: 2000s), four digits, checksum.
    ///
    /// The date is checked as a date only: a person whose birth date was corrected keeps the number.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = digits("IIN", text)?;
        let century = match digits[6] {
            1 | 2 => 1800,
            3 | 4 => 1900,
            5 | 6 => 2000,
            _ => return Err(IdError::Century),
        };
        let [year, month, day] = [0, 2, 4].map(|at| two(&digits, at));
        if day == 0 || day > days(century + year, month) {
            return Err(IdError::BirthDate);
        }
        check("IIN", &digits)?;
        Ok(Self(digits.map(|digit| digit + b'0')))
    }
}

impl fmt::Debug for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iin(…)")
    }
}

impl Bin {
    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII digits are admitted")
    }
}

impl FromStr for Bin {
    type Err = IdError;

    /// YYMM of the registration, the organisation's type (4 resident, 5 non-resident, 6 joint entrepreneur), its
    /// form, five digits, checksum.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = digits("BIN", text)?;
        if !(1..=12).contains(&two(&digits, 2)) {
            return Err(IdError::RegistrationMonth);
        }
        if !(4..=6).contains(&digits[4]) {
            return Err(IdError::OrganisationType);
        }
        check("BIN", &digits)?;
        Ok(Self(digits.map(|digit| digit + b'0')))
    }
}

impl fmt::Display for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bin({self})")
    }
}

fn digits(what: &'static str, text: &str) -> Result<[u8; 12], IdError> {
    let found = text.chars().count();
    if found != 12 {
        return Err(IdError::NumberLength { what, found });
    }
    if let Some(at) = text.chars().position(|letter| !letter.is_ascii_digit()) {
        return Err(IdError::NotDigit { what, position: at + 1 });
    }
    let bytes: [u8; 12] = text.as_bytes().try_into().expect("12 ASCII digits are 12 bytes");
    Ok(bytes.map(|byte| byte - b'0'))
}

fn two(digits: &[u8; 12], at: usize) -> u16 {
    u16::from(digits[at]) * 10 + u16::from(digits[at + 1])
}

/// Days of a month in the Gregorian calendar; none in a month that does not exist.
fn days(year: u16, month: u16) -> u16 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

/// The twelfth digit is the weighted sum of the others modulo 11, by weights 1 to 11; where that is 10, by weights 3
/// to 11, 1, 2; a number where that is 10 again is never issued.
fn check(what: &'static str, digits: &[u8; 12]) -> Result<(), IdError> {
    const FIRST: [u16; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    const SECOND: [u16; 11] = [3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2];
    let sum = |weights: [u16; 11]| weights.iter().zip(digits).map(|(w, d)| w * u16::from(*d)).sum::<u16>() % 11;
    let expected = match sum(FIRST) {
        10 => sum(SECOND),
        sum => sum,
    };
    if u16::from(digits[11]) == expected { Ok(()) } else { Err(IdError::Checksum { what }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Made for tests by the algorithm, by hand; they belong to nobody that we know of.
    const IIN: &str = "900101300017";

    fn iin(text: &str) -> Result<(), IdError> {
        text.parse::<Iin>().map(drop)
    }

    /// The number with the checksum that its first eleven digits need, or `None` where no number is issued.
    fn completed(eleven: &str) -> Option<String> {
        (0..10).map(|last| format!("{eleven}{last}")).find(|text| check("IIN", &digits("IIN", text).unwrap()).is_ok())
    }

    #[test]
    fn a_lawful_iin_is_admitted_and_never_shown() {
        let iin: Iin = IIN.parse().unwrap();
        assert_eq!(iin.as_str(), IIN);
        assert_eq!(format!("{iin:?}"), "Iin(…)");
    }

    #[test]
    fn the_checksum_follows_both_rows_of_weights() {
        // 9·1 + 1·4 + 1·6 + 3·7 + 1·11 = 51, 51 mod 11 = 7.
        assert_eq!(completed("90010130001").as_deref(), Some("900101300017"));
        // 9·1 + 1·4 + 1·6 + 3·7 + 4·9 = 76, 76 mod 11 = 10; then 9·3 + 1·6 + 1·8 + 3·9 + 4·11 = 112, mod 11 = 2.
        assert_eq!(completed("90010130400").as_deref(), Some("900101304002"));
        let never_issued = (0..10_000).find(|serial| completed(&format!("9001013{serial:04}")).is_none());
        assert!(never_issued.is_some(), "both rows give 10 for some numbers");
    }

    #[test]
    fn every_single_wrong_digit_is_found() {
        // But for the eleventh: its weight is 11, so the first row of weights does not see it.
        for at in (0..12).filter(|at| *at != 10) {
            for digit in b'0'..=b'9' {
                let mut text = IIN.as_bytes().to_vec();
                if text[at] != digit {
                    text[at] = digit;
                    assert!(iin(std::str::from_utf8(&text).unwrap()).is_err(), "digit {at} as {digit}");
                }
            }
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        assert_eq!(iin("90010130001"), Err(IdError::NumberLength { what: "IIN", found: 11 }));
        assert_eq!(iin("9001013000170"), Err(IdError::NumberLength { what: "IIN", found: 13 }));
        assert_eq!(iin("9001013 0017"), Err(IdError::NotDigit { what: "IIN", position: 8 }));
        // Arabic-Indic digits are digits to a person, not to us.
        assert_eq!(iin("٩٠٠١٠١٣٠٠٠١٧"), Err(IdError::NotDigit { what: "IIN", position: 1 }));
        assert_eq!(iin("900101300018"), Err(IdError::Checksum { what: "IIN" }));
        assert_eq!(iin("900101000010"), Err(IdError::Century));
        assert_eq!(iin("900101700010"), Err(IdError::Century));
        assert_eq!(iin("901301300010"), Err(IdError::BirthDate));
        assert_eq!(iin("900100300010"), Err(IdError::BirthDate));
        assert_eq!(iin("900431300010"), Err(IdError::BirthDate));
    }

    #[test]
    fn the_century_decides_about_29_february() {
        let born = |date: &str, century: u8| {
            let number = (0..10).find_map(|serial| completed(&format!("{date}{century}000{serial}"))).unwrap();
            iin(&number)
        };
        assert_eq!(born("000229", 5), Ok(()), "2000 was a leap year");
        assert_eq!(born("000229", 3), Err(IdError::BirthDate), "1900 was none");
        assert_eq!(born("960229", 4), Ok(()), "1996 was one");
        assert_eq!(born("950229", 4), Err(IdError::BirthDate));
    }

    #[test]
    fn a_bin_is_no_iin_and_the_other_way_round() {
        let bin = |text: &str| text.parse::<Bin>().map(drop);
        let number = completed("15044000123").unwrap();
        assert_eq!(bin(&number), Ok(()));
        assert_eq!(iin(&number), Err(IdError::Century));
        assert_eq!(bin(IIN), Err(IdError::OrganisationType));
        assert_eq!(bin("151340001230"), Err(IdError::RegistrationMonth));
        let wrong = format!("{}{}", &number[..11], (number.as_bytes()[11] - b'0' + 1) % 10);
        assert_eq!(bin(&wrong), Err(IdError::Checksum { what: "BIN" }));
    }
}
