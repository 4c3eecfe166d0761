# ruff: noqa: E501, RUF001 - tables: a language is a line, in its own script.
"""What mail programs write above a mail that they forward, by program and language.

Data for the labelled corpus (`labelled`), which judges the reader. Nothing in here is
taken from the tables of the reader, so that a word which is wrong there is found.

Where the words come from: for the languages of Europe, mails that these programs have
made and that a public test suite keeps (github.com/crisp-oss/email-forward-parser,
test/fixtures: Gmail, Outlook on the web, Outlook for Mac of 2019 and the new one, Apple
Mail, Thunderbird, Yahoo); the lines of Thunderbird in further languages from its public
localisation (transvision.mozfr.org, mailnews.forward_header_originalmessage); the rest,
and all dates, from the interface of the programs as they are known.

A row has a column for each word. `{date}` in them is Wednesday, 25 November 2026, 16:58.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Words(NamedTuple):
    """What a program writes in a language: the line above, and its labels."""

    line: str
    sender: str
    date: str
    to: str
    cc: str
    subject: str
    when: str
    prefix: str = "Fwd"


def _rows(table: str) -> dict[str, list[str]]:
    """Return the columns of a table by language."""
    rows = (row.split("|") for row in table.strip().split("\n"))
    return {language: columns for language, *columns in rows}


# language | sender | date. The rest is English, whatever the language (since 2018).
_GMAIL: Final = _rows("""
en|From|Wed, Nov 25, 2026 at 4:58\u202fPM
de|Von|Mi., 25. Nov. 2026 um 16:58 Uhr
fr|De |mer. 25 nov. 2026 à 16:58
es|De|mié, 25 nov 2026 a las 16:58
it|Da|mer 25 nov 2026 alle ore 16:58
nl|Van|wo 25 nov 2026 om 16:58
da|Fra|ons. 25. nov. 2026 kl. 16.58
no|Fra|ons. 25. nov. 2026 kl. 16:58
sv|Från|ons 25 nov. 2026 kl 16:58
fi|Lähettäjä|ke 25. marrask. 2026 klo 16.58
pl|Od|śr., 25 lis 2026 o 16:58
cs|Od|st 25. 11. 2026 v 16:58
sk|Od|st 25. 11. 2026 o 16:58
hu|Feladó|2026. nov. 25., Sze, 16:58
hr|Šalje|sri, 25. stu 2026. u 16:58
sl|Od|V sre., 25. nov. 2026 ob 16:58
sr|Од|сре, 25. нов 2026. у 16:58
ro|De la|mie., 25 nov. 2026 la 16:58
bg|От|ср, 25.11.2026 г. в 16:58 ч.
ru|От|ср, 25 нояб. 2026 г. в 16:58
uk|Від|ср, 25 лист. 2026 р. о 16:58
tr|Gönderen|25 Kas 2026 Çar, 16:58
pt|De|quarta, 25/11/2026 à(s) 16:58
pt-BR|De|qua., 25 de nov. de 2026 às 16:58
et|Saatja|K, 25. november 2026 kell 16:58
lv|No|trešd., 2026. g. 25. nov., plkst. 16:58
lt|Nuo|2026-11-25, tr, 16:58
el|Από|Τετ 25 Νοε 2026 στις 4:58 μ.μ.
ca|De|dc., 25 de nov. 2026 a les 16:58
he|מאת|יום ד׳, 25 בנוב׳ 2026 ב-16:58
ar|من|الأربعاء، 25 نوفمبر 2026 في 4:58 م
ja|From|2026年11月25日(水) 16:58
zh-CN|发件人|2026年11月25日周三 16:58
zh-TW|寄件者|2026年11月25日 週三 下午4:58
ko|보낸사람|2026년 11월 25일 (수) 오후 4:58
th|จาก|พ. 25 พ.ย. 2026 เวลา 16:58
vi|Từ|Th 4, 25 thg 11, 2026 vào lúc 16:58
id|Dari|Rab, 25 Nov 2026 pukul 16.58
""")

# language | prefix | sender | sent | to | copies | subject | date
_OUTLOOK: Final = _rows("""
en|FW|From|Sent|To|Cc|Subject|Wednesday, November 25, 2026 4:58 PM
en-GB|FW|From|Sent|To|Cc|Subject|25 November 2026 16:58
de|WG|Von|Gesendet|An|Cc|Betreff|Mittwoch, 25. November 2026 16:58
fr|TR|De |Envoyé |À |Cc |Objet |mercredi 25 novembre 2026 16:58
es|RV|De|Enviado|Para|CC|Asunto|miércoles, 25 de noviembre de 2026 16:58
it|I|Da|Inviato|A|Cc|Oggetto|mercoledì 25 novembre 2026 16:58
nl|FW|Van|Verzonden|Aan|CC|Onderwerp|woensdag 25 november 2026 16:58
da|VS|Fra|Sendt|Til|Cc|Emne|25. november 2026 16:58
no|VS|Fra|Sendt|Til|Kopi|Emne|onsdag 25. november 2026 16:58
sv|VB|Från|Skickat|Till|Kopia|Ämne|den 25 november 2026 16:58
fi|VL|Lähettäjä|Lähetetty|Vastaanottaja|Kopio|Aihe|keskiviikko 25. marraskuuta 2026 16.58
pl|PD|Od|Wysłane|Do|DW|Temat|środa, 25 listopada 2026 16:58
cs|FW|Od|Odesláno|Komu|Kopie|Předmět|středa 25. listopadu 2026 16:58
sk|FW|Od|Odoslané|Komu|Kópia|Predmet|streda 25. novembra 2026 16:58
hu|FW|Feladó|Elküldve|Címzett|Másolatot kap|Tárgy|2026. november 25., szerda 16:58
hr|FW|Šalje|Poslano|Prima|Kopija|Predmet|srijeda, 25. studenoga 2026. 16:58
sl|FW|Od|Poslano|Za|Kp|Zadeva|sreda, 25. november 2026 16:58
ro|Redir.|De la|Trimis|Către|Cc|Subiect|miercuri, 25 noiembrie 2026 16:58
bg|FW|От|Изпратено|До|Копие|Относно|25 ноември 2026 г. 16:58
ru|FW|От|Отправлено|Кому|Копия|Тема|25 ноября 2026 г. 16:58
uk|FW|Від|Надіслано|Кому|Копія|Тема|25 листопада 2026 р. 16:58
tr|İLT|Kimden|Gönderildi|Kime|Bilgi|Konu|25 Kasım 2026 Çarşamba 16:58
pt|FW|De|Enviado|Para|Cc|Assunto|25 de novembro de 2026 16:58
pt-BR|ENC|De|Enviado|Para|Cc|Assunto|quarta-feira, 25 de novembro de 2026 16:58
et|FW|Saatja|Saatmisaeg|Adressaat|Koopia|Teema|kolmapäev, 25. november 2026 16:58
lv|FW|No|Nosūtīts|Kam|Kopija|Tēma|trešdiena, 2026. gada 25. novembris 16:58
lt|FW|Nuo|Išsiųsta|Kam|Kopija|Tema|2026 m. lapkričio 25 d., trečiadienis 16:58
el|ΠΡΘ|Από|Στάλθηκε|Προς|Κοιν.|Θέμα|Τετάρτη, 25 Νοεμβρίου 2026 4:58 μμ
he|הועבר|מאת|נשלח|אל|עותק|נושא|יום רביעי 25 נובמבר 2026 16:58
ar|إعادة توجيه|من|تم الإرسال|إلى|نسخة|الموضوع|الأربعاء، 25 نوفمبر 2026 04:58 م
ja|FW|差出人|送信日時|宛先|CC|件名|2026年11月25日 16:58
zh-CN|转发|发件人|发送时间|收件人|抄送|主题|2026年11月25日 16:58
zh-TW|轉寄|寄件者|寄件日期|收件者|副本|主旨|2026年11月25日 下午 04:58
ko|전달|보낸 사람|보낸 날짜|받는 사람|참조|제목|2026년 11월 25일 수요일 오후 4:58
th|FW|จาก|ส่ง|ถึง|สำเนา|เรื่อง|25 พฤศจิกายน 2569 16:58
vi|FW|Từ|Đã gửi|Đến|Cc|Chủ đề|25 Tháng Mười Một 2026 4:58 CH
id|FW|Dari|Dikirim|Kepada|Cc|Subjek|25 November 2026 16:58
""")

# language | prefix | sender | date | to | copies | subject | date; no line above.
_OUTLOOK_MAC: Final = _rows("""
en|FW|From|Date|To|Cc|Subject|Wednesday, 25 November 2026 at 16:58
de|WG|Von|Datum|An|Cc|Betreff|Mittwoch, 25. November 2026 um 16:58
fr|TR|De |Date |À |Cc |Objet |mercredi, 25 novembre 2026 à 16:58
es|RV|De|Fecha|Para|CC|Asunto|miércoles, 25 de noviembre de 2026, 16:58
it|I|Da|Data|A|Cc|Oggetto|mercoledì, 25 novembre 2026 16:58
nl|FW|Van|Datum|Aan|CC|Onderwerp|woensdag, 25 november 2026 om 16:58
da|VS|Fra|Dato|Til|Cc|Emne|onsdag, 25. november 2026 kl. 16.58
no|Videresend|Fra|Dato|Til|Kopi|Emne|onsdag, 25. november 2026 kl. 16:58
sv|VB|Från|Datum|Till|Kopia|Ämne|onsdag, 25 november 2026 16:58
fi|VL|Lähettäjä|Päivämäärä|Vastaanottaja|Kopio|Aihe|keskiviikkona, 25. marraskuuta 2026 klo 16.58
pl|PD|Od|Data|Do|DW|Temat|środa, 25 listopada 2026 o 16:58
cs|FW|Od|Datum|Komu|Kopie|Předmět|středa, 25. listopadu 2026 16:58
sk|FW|Od|Dátum|Komu|Kópia|Predmet|streda, 25. novembra 2026, 16:58
hu|FW|Feladó|Dátum|Címzett|Másolatot kap|Tárgy|szerda, 2026. november 25. 16:58
ru|FW|От|Дата|Кому|Копия|Тема|среда, 25 ноября 2026 г. в 16:58
tr|İLT|Kimden|Tarih|Kime|Bilgi|Konu|Çarşamba, 25 Kasım 2026 16:58
pt|FW|De|Data|Para|CC|Assunto|quarta-feira, 25 de novembro de 2026, 16:58
pt-BR|ENC|De|Data|Para|Cc|Assunto|quarta-feira, 25 de novembro de 2026, 16:58
""")

# language | how Outlook for Mac of 2019 names the author in plain text; the mail is
# indented below it.
_OUTLOOK_MAC_OLD: Final = _rows("""
en|On 25/11/2026 16:58, "{name}" <{address}> wrote:
de|Am 25.11.2026, 16:58 schrieb "{name}" <{address}>:
fr|Le 25/11/2026 16:58, « {name} » <{address}> a écrit :
es|El 25/11/2026 16:58, "{name}" <{address}> escribió:
it|Il giorno 25/11/2026, 16:58 "{name}" <{address}> ha scritto:
nl|Op 25/11/2026 16:58 heeft {name} <{address}> geschreven:
da|D. 25/11/2026 16.58 skrev "{name}" <{address}>:
no|{name} <{address}> skrev følgende den 25/11/2026, 16:58:
sv|Den 25/11/2026 16:58 skrev "{name}" <{address}> följande:
fi|{name} <{address}> kirjoitti 25/11/2026 16.58:
pl|Dnia 25/11/2026, 16:58 użytkownik „{name}” <{address}> napisał:
cs|Dne 25/11/2026 16:58, {name} <{address}> napsal(a):
sk|25/11/2026 16:58 používateľ {name} (<{address}>) napísal:
hu|25/11/2026 16:58 időpontban {name} ({address}) ezt írta:
ru|25/11/2026, 16:58 пользователь "{name}" <{address}> написал:
tr|"{name}" <{address}>, 25/11/2026 16:58 tarihinde şunu yazdı:
pt|Em 25/11/26, 16:58, "{name}" <{address}> escreveu:
""")

# language | line | sender | subject | date | to | copies | date
_APPLE: Final = _rows("""
en|Begin forwarded message:|From|Subject|Date|To|Cc|25 November 2026 at 16:58:00 CET
de|Anfang der weitergeleiteten Nachricht:|Von|Betreff|Datum|An|Kopie|25. November 2026 um 16:58:00 MEZ
fr|Début du message réexpédié :|De|Objet|Date|À|Cc|25 novembre 2026 à 16:58:00 UTC+1
es|Inicio del mensaje reenviado:|De|Asunto|Fecha|Para|Cc|25 de noviembre de 2026, 16:58:00 CET
it|Inizio messaggio inoltrato:|Da|Oggetto|Data|A|Cc|25 novembre 2026 16:58:00 CET
nl|Begin doorgestuurd bericht:|Van|Onderwerp|Datum|Aan|Kopie|25 november 2026 om 16:58:00 CET
da|Start på videresendt besked:|Fra|Emne|Dato|Til|Cc|25. november 2026 kl. 16.58.00 CET
no|Videresendt melding:|Fra|Emne|Dato|Til|Kopi|25. november 2026 kl. 16:58:00 CET
sv|Vidarebefordrat mejl:|Från|Ämne|Datum|Till|Kopia|25 november 2026 16:58:00 CET
fi|Välitetty viesti alkaa:|Lähettäjä|Aihe|Päivämäärä|Vastaanottaja|Kopio|25. marraskuuta 2026 klo 16.58.00 UTC+1
pl|Początek przekazywanej wiadomości:|Od|Temat|Data|Do|Dw|25 listopada 2026 o 16:58:00 CET
cs|Začátek přeposílané zprávy:|Od|Předmět|Datum|Komu|Kopie|25. listopadu 2026 16:58:00 GMT+1
sk|Začiatok preposlanej správy:|Od|Predmet|Dátum|Pre|Cc|25. novembra 2026, 16:58:00 GMT+1
hu|Továbbított levél kezdete:|Feladó|Tárgy|Dátum|Címzett|Másolat|2026. november 25. 16:58:00 CET
hr|Započni proslijeđenu poruku:|Šalje|Predmet|Datum|Prima|Cc|25. studenoga 2026. u 16:58:00 CET
ro|Începe mesajul redirecționat:|Expeditorul|Subiectul|Dată|Destinatarul|Cc|25 noiembrie 2026, 16:58:00 CET
ru|Начало переадресованного сообщения:|Отправитель|Тема|Дата|Кому|Копия|25 ноября 2026 г. в 16:58:00 GMT+1
uk|Початок листа, що пересилається:|Від кого|Тема|Дата|Кому|Копія|25 листопада 2026 р. о 16:58:00 GMT+1
tr|İleti başlangıcı:|Kimden|Konu|Tarih|Kime|Bilgi|25 Kasım 2026 16:58:00 GMT+1
pt|Início da mensagem reencaminhada:|De|Assunto|Data|Para|Cc|25 de novembro de 2026, 16:58:00 CET
pt-BR|Início da mensagem encaminhada:|De|Assunto|Data|Para|Cc|25 de novembro de 2026, 16:58:00 CET
el|Αρχή προωθημένου μηνύματος:|Από|Θέμα|Ημερομηνία|Προς|Κοιν.|25 Νοεμβρίου 2026 στις 4:58:00 μ.μ. CET
ja|転送されたメッセージ：|差出人|件名|日付|宛先|Cc|2026年11月25日 16:58:00 JST
zh-CN|开始转发的邮件：|发件人|主题|日期|收件人|抄送|2026年11月25日 GMT+1 16:58:00
zh-TW|開始轉寄郵件：|寄件人|主旨|日期|收件人|副本|2026年11月25日 GMT+1 下午4:58:00
ko|전달된 메시지:|보낸 사람|제목|날짜|받는 사람|참조|2026년 11월 25일 오후 4:58:00 GMT+1
""")

# language | line | subject | date | sender | to | copies
_THUNDERBIRD: Final = _rows("""
en|-------- Forwarded Message --------|Subject|Date|From|To|CC
de|-------- Weitergeleitete Nachricht --------|Betreff|Datum|Von|An|Kopie (CC)
fr|-------- Message transféré --------|Sujet |Date |De |Pour |Copie à
es|-------- Mensaje reenviado --------|Asunto|Fecha|De|Para|CC
it|-------- Messaggio Inoltrato --------|Oggetto|Data|Mittente|A|CC
nl|-------- Doorgestuurd bericht --------|Onderwerp|Datum|Van|Aan|CC
da|-------- Videresendt meddelelse --------|Emne|Dato|Fra|Til|Cc
no|-------- Videresendt melding --------|Emne|Dato|Fra|Til|Kopi
sv|-------- Vidarebefordrat meddelande --------|Ämne|Datum|Från|Till|Kopia
fi|-------- Välitetty viesti / Fwd.Msg --------|Aihe|Päiväys|Lähettäjä|Vastaanottaja|CC
pl|--- Treść przekazanej wiadomości ---|Temat|Data|Nadawca|Adresat|Kopia
cs|-------- Přeposlaná zpráva --------|Předmět|Datum|Od|Komu|Kopie
sk|-------- Preposlaná správa --- Forwarded Message --------|Predmet|Dátum|Od|Pre|Kópia
hu|-------- Továbbított üzenet --------|Tárgy|Dátum|Feladó|Címzett|CC
hr|-------- Proslijeđena poruka --------|Naslov|Datum|Šalje|Prima|CC
ro|-------- Mesaj redirecționat --------|Subiect|Dată|de la|Către|CC
bg|-------- Оригинално писмо --------|Тема|Дата|От|До|CC
ru|-------- Перенаправленное сообщение --------|Тема|Дата|От|Кому|Копия
uk|-------- Переслане повідомлення --------|Тема|Дата|Від|Кому|CC
be|-------- Накіраваны ліст --------|Тэма|Дата|Ад|Каму|CC
tr|-------- İletilen İleti --------|Konu|Tarih|Kimden|Kime|CC
pt|-------- Mensagem reencaminhada --------|Assunto|Data|De|Para|CC
pt-BR|-------- Mensagem encaminhada --------|Assunto|Data|De|Para|CC
et|-------- Edastatud kiri --------|Teema|Kuupäev|Saatja|Saaja|CC
lt|-------- Persiųstas laiškas --------|Tema|Data|Nuo|Kam|CC
sl|-------- Posredovano sporočilo --------|Zadeva|Datum|Od|Za|CC
gl|-------- Mensaxe reenviada --------|Asunto|Data|De|Para|CC
ca|-------- Missatge reenviat --------|Assumpte|Data|De|A|CC
eu|-------- Birbidalitako mezua --------|Gaia|Data|Nork|Nori|CC
is|-------- Áframsendur póstur --------|Efni|Dagsetning|Frá|Til|CC
ar|-------- رسالة ممرّرة --------|الموضوع|التاريخ|من|إلى|نسخة
ja|-------- Forwarded Message --------|件名|日付|差出人|宛先|CC
zh-CN|-------- 转发的消息 --------|主题|日期|发件人|收件人|抄送
zh-TW|-------- 轉寄郵件 --------|主旨|日期|寄件者|收件者|副本
ko|-------- 전달된 메시지 --------|제목|날짜|보낸 사람|받는 사람|참조
""")

# language | line | sender | to | copies | sent | subject | date
_YAHOO: Final = _rows("""
en|----- Forwarded Message -----|From|To|Cc|Sent|Subject|Wednesday, November 25, 2026, 04:58:50 PM GMT+1
de|----- Weitergeleitete Nachricht -----|Von|An|CC|Gesendet|Betreff|Mittwoch, 25. November 2026, 16:58:50 MEZ
fr|----- Message transmis -----|De |À |Cc |Envoyé |Objet |mercredi 25 novembre 2026, 16:58:50 UTC+1
es|----- Mensaje reenviado -----|De|Para|CC|Enviado|Asunto|miércoles, 25 de noviembre de 2026 16:58:50 CET
it|----- Messaggio inoltrato -----|Da|A|Cc|Inviato|Oggetto|mercoledì 25 novembre 2026, 16:58:50 CET
nl|----- Doorgestuurd bericht -----|Van|Aan|Cc|Verzonden|Onderwerp|woensdag 25 november 2026 16:58:50 CET
da|----- Videresendt meddelelse -----|Fra|Til|Cc|Sendt|Emne|onsdag den 25. november 2026 16.58.50 CET
no|----- Videresendt melding -----|Fra|Til|Kopi|Sendt|Emne|onsdag 25. november 2026 16:58:50 CET
sv|----- Vidarebefordrat meddelande -----|Från|Till|Kopia|Skickat|Ämne|onsdag 25 november 2026 16:58:50 CET
fi|----- Edelleenlähetetty viesti -----|Lähettäjä|Vastaanottaja|Kopio|Lähetetty|Aihe|keskiviikkona 25. marraskuuta 2026 klo 16.58.50 UTC+1
pl|----- Przekazana wiadomość -----|Od|Do|Dw|Wysłano|Temat|środa, 25 listopada 2026, 16:58:50 CET
cs|----- Přeposlaná zpráva -----|Od|Komu|Kopie|Datum|Předmět|středa 25. listopadu 2026 16:58:50 SEČ
sk|----- Preposlaná správa -----|Od|Komu|Kópia|Odoslané|Predmet|streda 25. novembra 2026, 16:58:50 SEČ
hu|----- Továbbított üzenet -----|Feladó|Címzett|Másolat|Elküldve|Tárgy|2026. november 25., szerda 16:58:50 CET
ro|----- Mesaj redirecționat -----|De la|Către|Cc|Trimis|Subiect|miercuri, 25 noiembrie 2026, 16:58:50 CET
ru|----- Пересылаемое сообщение -----|От|Кому|Копия|Отправлено|Тема|среда, 25 ноября 2026 г., 16:58:50 GMT+1
uk|----- Перенаправлене повідомлення -----|Від|Кому|Копія|Відправлено|Тема|середа, 25 листопада 2026 р., 16:58:50 GMT+1
tr|----- İletilmiş Mesaj -----|Kimden|Kime|Cc|Gönderilen|Konu|25 Kasım 2026 Çarşamba 16:58:50 GMT+1
pt|----- Mensagem reencaminhada -----|De|Para|Cc|Enviado|Assunto|quarta-feira, 25 de novembro de 2026, 16:58:50 CET
pt-BR|----- Mensagem encaminhada -----|De|Para|Cc|Enviado|Assunto|quarta-feira, 25 de novembro de 2026, 16:58:50 CET
""")

GMAIL: Final = {
    language: Words(
        "---------- Forwarded message ---------",
        sender,
        "Date",
        "To",
        "Cc",
        "Subject",
        when,
    )
    for language, (sender, when) in _GMAIL.items()
}
OUTLOOK: Final = {
    language: Words("", sender, sent, to, cc, subject, when, prefix)
    for language, (prefix, sender, sent, to, cc, subject, when) in _OUTLOOK.items()
}
OUTLOOK_MAC: Final = {
    language: Words("", sender, date, to, cc, subject, when, prefix)
    for language, (prefix, sender, date, to, cc, subject, when) in _OUTLOOK_MAC.items()
}
OUTLOOK_MAC_OLD: Final = {
    language: line for language, (line,) in _OUTLOOK_MAC_OLD.items()
}
APPLE: Final = {
    language: Words(line, sender, date, to, cc, subject, when)
    for language, (line, sender, subject, date, to, cc, when) in _APPLE.items()
}
THUNDERBIRD: Final = {
    language: Words(
        line, sender, date, to, cc, subject, "Wed, 25 Nov 2026 16:58:00 +0100"
    )
    for language, (line, subject, date, sender, to, cc) in _THUNDERBIRD.items()
}
YAHOO: Final = {
    language: Words(line, sender, sent, to, cc, subject, when)
    for language, (line, sender, to, cc, sent, subject, when) in _YAHOO.items()
}
