//! The words: one table, three languages side by side. Texts are for people of every age: short, polite, without jargon.
//!
//! "Member of staff" is whoever stands at the place that the help line names; the line is on every screen.

use didar_protocol::message::Outcome;
use didar_protocol::reason::Reason;

use super::{Words, reasons};
use crate::attempt::event::Hint;

pub(super) const fn say(kk: &'static str, ru: &'static str, en: &'static str) -> Words {
    Words { kk, ru, en }
}

pub(super) const HELP: Words = say("Көмек", "Помощь", "Help");

pub(super) const INVITATION: (Words, Words) = (
    say("Сәлеметсіз бе!", "Здравствуйте!", "Hello!"),
    say("Қызметті таңдаңыз.", "Выберите услугу.", "Choose a service."),
);

pub(super) const CHECKING: (Words, Words) = (
    say("Тексеріп жатырмыз", "Проверяем", "Checking"),
    say("Бұл бірнеше секунд алады.", "Это займёт несколько секунд.", "This takes a few seconds."),
);

pub(super) const OUT_OF_SERVICE: Words =
    say("Киоск уақытша істемейді", "Киоск временно не работает", "Out of service for now");

/// The one thing to change, and why or how.
pub(super) const fn hint(hint: Hint) -> (Words, Words) {
    match hint {
        Hint::LookForFace => (
            say("Камераға қараңыз", "Посмотрите в камеру", "Look at the camera"),
            say("Бетіңіз сопақшаның ішінде болсын.", "Поместите лицо в овал.", "Bring your face into the oval."),
        ),
        Hint::Closer => (
            say("Жақынырақ келіңіз", "Подойдите ближе", "Come closer"),
            say("Бетіңіз тым алыс көрінеді.", "Лицо слишком далеко.", "Your face is too far away."),
        ),
        Hint::Farther => (
            say("Сәл артқа шегініңіз", "Отойдите чуть дальше", "Move back a little"),
            say("Бетіңіз тым жақын көрінеді.", "Лицо слишком близко.", "Your face is too close."),
        ),
        Hint::ToTheMiddle => (
            say("Ортаға жылжыңыз", "Встаньте по центру", "Move to the middle"),
            say("Бетіңіз сопақшаның ішінде болсын.", "Поместите лицо в овал.", "Bring your face into the oval."),
        ),
        Hint::LookStraight => (
            say("Тура қараңыз", "Смотрите прямо", "Look straight ahead"),
            say("Басыңызды тік ұстаңыз.", "Держите голову ровно.", "Keep your head straight."),
        ),
        Hint::TakeOffMask => (
            say("Бетпердеңізді шешіңіз", "Снимите маску", "Take off your mask"),
            say("Бетіңіз толық көрінуі керек.", "Лицо должно быть открыто.", "Your whole face must be seen."),
        ),
        Hint::TooDark => (
            say("Жарық жетпейді", "Слишком темно", "Too dark"),
            say("Жарыққа қарай бұрылыңыз.", "Повернитесь к свету.", "Turn towards the light."),
        ),
        Hint::TooBright => (
            say("Жарық тым күшті", "Слишком ярко", "Too bright"),
            say("Күшті жарықтан бұрылыңыз.", "Отвернитесь от яркого света.", "Turn away from the bright light."),
        ),
        Hint::OnePersonOnly => (
            say("Бір адам ғана тұрсын", "Только один человек", "One person only"),
            say(
                "Басқалардан шетке шығуын сұраңыз.",
                "Попросите остальных отойти.",
                "Please ask the others to step aside.",
            ),
        ),
        Hint::HoldStill => (
            say("Қозғалмаңыз", "Не двигайтесь", "Hold still"),
            say("Камераға қарап тұрыңыз.", "Смотрите в камеру.", "Keep looking at the camera."),
        ),
        Hint::StepBack => (
            say("Бір қадам шегініңіз", "Сделайте шаг назад", "Take a step back"),
            say(
                "Басыңыз бен иығыңыз көрінсін.",
                "Камере нужно видеть голову и плечи.",
                "Your head and shoulders must be seen.",
            ),
        ),
    }
}

const NOT_COMPLETED: Words = say("Тексеру аяқталмады", "Проверка не завершена", "Check not completed");

/// What happened. Where a lamp failed, trying again here is no help: the title does not promise it.
pub(super) const fn outcome_title(outcome: Outcome, reason: Reason) -> Words {
    match outcome {
        Outcome::Grant => say("Тұлғаңыз расталды", "Личность подтверждена", "Identity confirmed"),
        Outcome::Deny => say("Тұлғаңыз расталмады", "Личность не подтверждена", "Identity not confirmed"),
        Outcome::Spoof => NOT_COMPLETED,
        Outcome::Inconclusive if matches!(reason, Reason::LeftLampDark | Reason::RightLampDark) => NOT_COMPLETED,
        Outcome::Inconclusive => say("Тағы бір рет көрейік", "Попробуем ещё раз", "Let us try once more"),
        Outcome::Refused => say("Тексере алмадық", "Проверить не удалось", "Check not possible"),
        Outcome::TimeOut => say("Уақыт бітті", "Время вышло", "Time ran out"),
        Outcome::Offline => say("Байланыс жоқ", "Нет связи", "No connection"),
        Outcome::Fault => say("Техникалық ақау", "Техническая неполадка", "Technical fault"),
        Outcome::Cancelled => say("Тексеру тоқтатылды", "Проверка отменена", "Check cancelled"),
    }
}

/// What the person can do. The outcome decides where the reason must not (grant, spoof) or does not say anything.
pub(super) const fn next_step(outcome: Outcome, reason: Reason) -> Words {
    match outcome {
        Outcome::Grant => say("Жалғастыра беріңіз.", "Можете продолжать.", "You may continue."),
        Outcome::Spoof => TRY_OR_SHOW_DOCUMENT,
        Outcome::Deny
        | Outcome::Inconclusive
        | Outcome::Refused
        | Outcome::TimeOut
        | Outcome::Offline
        | Outcome::Fault
        | Outcome::Cancelled => match reason {
            Reason::None => unexplained(outcome),
            reason => reasons::explained(reason),
        },
    }
}

const fn unexplained(outcome: Outcome) -> Words {
    match outcome {
        Outcome::Grant | Outcome::Deny | Outcome::Spoof | Outcome::Inconclusive => TRY_OR_SHOW_DOCUMENT,
        Outcome::Refused => say(
            "Құжатыңызды қызметкерге көрсетіңіз.",
            "Покажите документ сотруднику.",
            "Please show your document to a member of staff.",
        ),
        Outcome::TimeOut | Outcome::Cancelled => START_AGAIN,
        Outcome::Offline => TRY_LATER,
        Outcome::Fault => CALL_STAFF,
    }
}

pub(super) const TRY_OR_SHOW_DOCUMENT: Words = say(
    "Қайталап көріңіз немесе құжатыңызды қызметкерге көрсетіңіз.",
    "Попробуйте ещё раз или покажите документ сотруднику.",
    "Try again or show your document to a member of staff.",
);
const START_AGAIN: Words =
    say("Дайын болғанда қайтадан бастаңыз.", "Начните заново, когда будете готовы.", "Start again when you are ready.");
const TRY_LATER: Words = say(
    "Бірнеше минуттан кейін қайталаңыз немесе қызметкерге жүгініңіз.",
    "Повторите через несколько минут или обратитесь к сотруднику.",
    "Try again in a few minutes or ask a member of staff.",
);
const CALL_STAFF: Words = say(
    "Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
    "Воспользуйтесь другим киоском или обратитесь к сотруднику.",
    "Use another kiosk or ask a member of staff.",
);
