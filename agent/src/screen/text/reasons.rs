//! The words for each reason. One long match on purpose: the table is read and corrected as one.

use didar_protocol::reason::Reason;

use super::Words;
use super::table::{TRY_OR_SHOW_DOCUMENT, say};

/// What the person can do after an attempt that ended for this reason.
pub(super) const fn explained(reason: Reason) -> Words {
    match reason {
        Reason::None => say(
            "Құжатыңызды қызметкерге көрсетіңіз.",
            "Покажите документ сотруднику.",
            "Please show your document to a member of staff.",
        ),
        Reason::ConsentMissing => say(
            "Қызметті қайта бастап, тексеруге келісім беріңіз.",
            "Начните услугу заново и дайте согласие на проверку.",
            "Start the service again and give your consent to the check.",
        ),
        Reason::ConsentExpired => say(
            "Келісіміңіздің мерзімі өтті. Жаңасын беріңіз немесе қызметкерден сұраңыз.",
            "Срок вашего согласия истёк. Дайте новое или спросите сотрудника.",
            "Your consent has expired. Give a new one or ask a member of staff.",
        ),
        Reason::ConsentWithdrawn => say(
            "Сіз келісіміңізді қайтарып алғансыз. Жаңасын беріңіз немесе қызметкерден сұраңыз.",
            "Вы отозвали своё согласие. Дайте новое или спросите сотрудника.",
            "You withdrew your consent. Give a new one or ask a member of staff.",
        ),
        Reason::ConsentPurpose => say(
            "Келісіміңіз басқа қызметке берілген. Осы қызметке жаңа келісім беріңіз.",
            "Ваше согласие дано для другой услуги. Дайте согласие для этой.",
            "Your consent is for another service. Give a consent for this one.",
        ),
        Reason::SubjectUnknown => say(
            "Салыстыратын фото табылмады. ЖСН-ді тексеріңіз немесе құжатыңызды қызметкерге көрсетіңіз.",
            "Нет фото для сравнения. Проверьте ИИН или покажите документ сотруднику.",
            "There is no photo to compare with. Check your IIN or show your document to a member of staff.",
        ),
        Reason::InitiatorNotServed => say(
            "Бұл қызмет осы киоскіде көрсетілмейді. Қызметкерден сұраңыз.",
            "Эта услуга недоступна на этом киоске. Спросите сотрудника.",
            "This service is not available at this kiosk. Ask a member of staff.",
        ),
        Reason::TooManyFailures => say(
            "Әрекеттер саны шегіне жетті. Кейінірек келіңіз немесе құжатыңызды қызметкерге көрсетіңіз.",
            "Попытки закончились. Повторите позже или покажите документ сотруднику.",
            "There were too many attempts. Try later or show your document to a member of staff.",
        ),
        Reason::DeviceRefused => say(
            "Бұл киоск қазір қызмет көрсете алмайды. Басқа киоскіге барыңыз.",
            "Этот киоск сейчас не обслуживает. Воспользуйтесь другим.",
            "This kiosk cannot serve you now. Please use another one.",
        ),
        Reason::RequestMalformed => say(
            "Деректерде қате бар. Қызметті басынан бастаңыз немесе қызметкерден сұраңыз.",
            "В данных есть ошибка. Начните услугу заново или спросите сотрудника.",
            "There is a mistake in the data. Start the service again or ask a member of staff.",
        ),
        Reason::ChallengeExpired => say(
            "Тексеру ұзаққа созылды. Қайтадан бастаңыз.",
            "Проверка заняла слишком много времени. Начните заново.",
            "The check took too long. Please start again.",
        ),
        Reason::ChallengeSpent => say(
            "Бұл тексеру аяқталған. Қайтадан бастаңыз.",
            "Эта проверка уже завершена. Начните заново.",
            "This check is already finished. Please start again.",
        ),
        Reason::NotSamePerson => say(
            "ЖСН-ді тексеріп, қайталап көріңіз. Болмаса, құжатыңызды қызметкерге көрсетіңіз.",
            "Проверьте ИИН и попробуйте ещё раз. Если не выйдет, покажите документ сотруднику.",
            "Check your IIN and try again. If that fails, show your document to a member of staff.",
        ),
        Reason::LightCodeWrong
        | Reason::NoRelief
        | Reason::NoResponse
        | Reason::TooLate
        | Reason::StillOrLooped
        | Reason::FaceChanged
        | Reason::LooksFalse => TRY_OR_SHOW_DOCUMENT,
        Reason::TooMuchInfrared => say(
            "Күн сәулесі кедергі болып тұр. Терезеден бұрылып, қайталаңыз.",
            "Мешает солнечный свет. Отвернитесь от окна и повторите.",
            "Sunlight is in the way. Turn away from the window and try again.",
        ),
        Reason::HoldStill => say(
            "Қозғалмай тұрып, қайталап көріңіз.",
            "Повторите и постарайтесь не двигаться.",
            "Try again and hold still.",
        ),
        Reason::LeftLampDark | Reason::RightLampDark => say(
            "Киоскінің шамы жанбады. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Подсветка киоска не сработала. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The kiosk's light did not work. Use another kiosk or ask a member of staff.",
        ),
        Reason::TooDark => say(
            "Бетіңізге жарық аз түсті. Жарыққа қарай бұрылып, қайталаңыз.",
            "Лицо плохо освещено. Повернитесь к свету и повторите.",
            "Your face is in the dark. Turn towards the light and try again.",
        ),
        Reason::TooBright => say(
            "Бетіңізге тым күшті жарық түсті. Одан бұрылып, қайталаңыз.",
            "На лицо падает слишком яркий свет. Отвернитесь от него и повторите.",
            "The light on your face is too bright. Turn away from it and try again.",
        ),
        Reason::TooFewFrames => say(
            "Камера сізді толық көріп үлгермеді. Оған қарап, қайталаңыз.",
            "Камера не успела вас рассмотреть. Смотрите в неё и повторите.",
            "The camera did not see you long enough. Look at it and try again.",
        ),
        Reason::ContextMissing => {
            say("Бір қадам шегініп, қайталаңыз.", "Сделайте шаг назад и повторите.", "Take a step back and try again.")
        }
        Reason::PoorQuality => say(
            "Бетперде мен қара көзілдірікті шешіп, тура қарап, қайталаңыз.",
            "Снимите маску и тёмные очки, смотрите прямо и повторите.",
            "Take off a mask or dark glasses, look straight and try again.",
        ),
        Reason::NoFaceInTime => say(
            "Экранның алдына тұрып, қайтадан бастаңыз.",
            "Встаньте перед экраном и начните заново.",
            "Stand in front of the screen and start again.",
        ),
        Reason::NoAnswerInTime => say(
            "Жауап уақытында келмеді. Қайталап көріңіз.",
            "Ответ не пришёл вовремя. Попробуйте ещё раз.",
            "The answer did not come in time. Please try again.",
        ),
        Reason::NoConnection => say(
            "Бірнеше минуттан кейін қайталаңыз немесе қызметкерге жүгініңіз.",
            "Повторите через несколько минут или обратитесь к сотруднику.",
            "Try again in a few minutes or ask a member of staff.",
        ),
        Reason::CameraFault => say(
            "Камера істемей тұр. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Камера не работает. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The camera is not working. Use another kiosk or ask a member of staff.",
        ),
        Reason::LampFault => say(
            "Камераның шамдары істемей тұр. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Подсветка не работает. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The camera's lights are not working. Use another kiosk or ask a member of staff.",
        ),
        Reason::ModelFault | Reason::StorageFault | Reason::ProgramFault => say(
            "Бағдарлама істемей тұр. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Программа не работает. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The software is not working. Use another kiosk or ask a member of staff.",
        ),
        Reason::ClockFault => say(
            "Киоскінің сағаты дұрыс емес. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Часы киоска идут неверно. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The kiosk's clock is wrong. Use another kiosk or ask a member of staff.",
        ),
        Reason::ScreenFault => say(
            "Экран істемей тұр. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Экран не работает. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The screen is not working. Use another kiosk or ask a member of staff.",
        ),
        Reason::CancelledByApplication => say(
            "Дайын болғанда қайтадан бастаңыз.",
            "Начните заново, когда будете готовы.",
            "Start again when you are ready.",
        ),
        Reason::Stopping => say(
            "Киоск қайта іске қосылып жатыр. Бір минуттан кейін қайталаңыз.",
            "Киоск перезапускается. Повторите через минуту.",
            "The kiosk is restarting. Try again in a minute.",
        ),
        Reason::PeerNotTrusted => say(
            "Байланыс қорғалмаған. Басқа киоскіге барыңыз немесе қызметкерге жүгініңіз.",
            "Связь не защищена. Воспользуйтесь другим киоском или обратитесь к сотруднику.",
            "The connection is not secure. Use another kiosk or ask a member of staff.",
        ),
    }
}

/// What is broken, in a word or two, for people who wait and for those who repair.
pub(super) const fn fault(reason: Reason) -> Words {
    match reason {
        Reason::NoConnection | Reason::PeerNotTrusted => say("байланыс жоқ", "нет связи", "no connection"),
        Reason::CameraFault => say("камера", "камера", "camera"),
        Reason::LampFault | Reason::LeftLampDark | Reason::RightLampDark => say("шамдар", "подсветка", "lights"),
        Reason::ModelFault | Reason::ProgramFault => say("бағдарлама", "программа", "software"),
        Reason::StorageFault => say("жад", "память", "storage"),
        Reason::ClockFault => say("сағат", "часы", "clock"),
        Reason::ScreenFault => say("экран", "экран", "screen"),
        Reason::Stopping => say("қайта іске қосылу", "перезапуск", "restarting"),
        Reason::None
        | Reason::ConsentMissing
        | Reason::ConsentExpired
        | Reason::ConsentWithdrawn
        | Reason::ConsentPurpose
        | Reason::SubjectUnknown
        | Reason::InitiatorNotServed
        | Reason::TooManyFailures
        | Reason::DeviceRefused
        | Reason::RequestMalformed
        | Reason::ChallengeExpired
        | Reason::ChallengeSpent
        | Reason::NotSamePerson
        | Reason::LightCodeWrong
        | Reason::NoRelief
        | Reason::NoResponse
        | Reason::TooLate
        | Reason::StillOrLooped
        | Reason::FaceChanged
        | Reason::LooksFalse
        | Reason::TooMuchInfrared
        | Reason::HoldStill
        | Reason::TooDark
        | Reason::TooBright
        | Reason::TooFewFrames
        | Reason::ContextMissing
        | Reason::PoorQuality
        | Reason::NoFaceInTime
        | Reason::NoAnswerInTime
        | Reason::CancelledByApplication => say("техникалық ақау", "неполадка", "technical fault"),
    }
}
