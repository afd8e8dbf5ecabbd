//! Made-up names, from small lists: a generator draws thousands a second.

use fastrand::Rng;

/// What kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fake {
    /// A first and a last name.
    Person,
    /// A name with a legal form.
    Company,
    /// A noun.
    Word,
}

impl Fake {
    /// Draws one.
    pub fn draw(self, rng: &mut Rng) -> String {
        match self {
            Self::Person => format!("{} {}", one(&FIRST_NAMES, rng), one(&LAST_NAMES, rng)),
            Self::Company => {
                format!("{} {} {}", one(&COMPANY_NAMES, rng), one(&TRADES, rng), one(&FORMS, rng))
            }
            Self::Word => one(&NOUNS, rng).to_owned(),
        }
    }
}

fn one<const N: usize>(list: &[&'static str; N], rng: &mut Rng) -> &'static str {
    list[rng.usize(..N)]
}

const FIRST_NAMES: [&str; 40] = [
    "Ada", "Amira", "Ana", "Arjun", "Bruno", "Carmen", "Chen", "Clara", "Daniel", "Diego", "Elena", "Emeka",
    "Emil", "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Julia", "Kenji", "Laila",
    "Leo", "Lucia", "Maria", "Mateo", "Mei", "Nadia", "Noah", "Olga", "Omar", "Paula", "Priya", "Rosa",
    "Samuel", "Sofia", "Tomas", "Yara",
];

const LAST_NAMES: [&str; 40] = [
    "Almeida",
    "Andersson",
    "Bauer",
    "Becker",
    "Castillo",
    "Chandra",
    "Costa",
    "Diaz",
    "Dubois",
    "Fernandez",
    "Fischer",
    "Garcia",
    "Gupta",
    "Haddad",
    "Hansen",
    "Ibrahim",
    "Ivanova",
    "Jensen",
    "Kim",
    "Kowalski",
    "Larsen",
    "Lopez",
    "Martin",
    "Mendoza",
    "Moreau",
    "Nakamura",
    "Navarro",
    "Novak",
    "Okafor",
    "Oliveira",
    "Ortega",
    "Petrov",
    "Rossi",
    "Santos",
    "Schmidt",
    "Silva",
    "Suzuki",
    "Torres",
    "Wang",
    "Weber",
];

const COMPANY_NAMES: [&str; 30] = [
    "Alder",
    "Almagre",
    "Amber",
    "Atlas",
    "Birch",
    "Canyon",
    "Cedar",
    "Cobalt",
    "Copper",
    "Delta",
    "Ember",
    "Falcon",
    "Granite",
    "Harbor",
    "Indigo",
    "Juniper",
    "Lantern",
    "Maple",
    "Meridian",
    "Mesa",
    "Northwind",
    "Orchard",
    "Pinion",
    "Quartz",
    "Ridge",
    "Sierra",
    "Summit",
    "Tamarisk",
    "Valley",
    "Willow",
];

const TRADES: [&str; 12] = [
    "Analytics",
    "Components",
    "Design",
    "Foods",
    "Freight",
    "Instruments",
    "Labs",
    "Logistics",
    "Media",
    "Robotics",
    "Systems",
    "Textiles",
];

const FORMS: [&str; 6] = ["AG", "Co.", "GmbH", "Inc.", "Ltd.", "S.A."];

const NOUNS: [&str; 50] = [
    "anchor", "backpack", "basket", "blanket", "bottle", "bowl", "bracelet", "brush", "bucket", "camera",
    "candle", "carpet", "chair", "clock", "compass", "cup", "curtain", "desk", "drill", "fan", "fork",
    "glove", "guitar", "hammer", "hat", "jacket", "kettle", "keyboard", "ladder", "lamp", "mirror", "mug",
    "notebook", "oven", "pan", "pencil", "pillow", "plate", "radio", "rope", "scarf", "shelf", "shoe",
    "sofa", "spoon", "stool", "table", "tent", "towel", "umbrella",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_never_empty() {
        let mut rng = Rng::with_seed(7);
        for kind in [Fake::Person, Fake::Company, Fake::Word] {
            let names: std::collections::BTreeSet<String> = (0..200).map(|_| kind.draw(&mut rng)).collect();
            assert!(names.len() > 30, "{kind:?}: {}", names.len());
            assert!(names.iter().all(|name| !name.trim().is_empty()));
        }
    }
}
