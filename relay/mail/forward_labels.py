# ruff: noqa: E501, RUF001 - a table: a language is a line, in its own script.
"""The words by which mail programs introduce a forwarded mail, in many languages.

`LABELS` holds what stands before the sender, the date, the recipients and the subject;
`FORWARDED` and `ORIGINAL` the lines above them; `PREFIXES` what stands before a subject;
`MONTHS` the beginnings of the names of months. A label counts whatever language the
others are in: programs mix that of the interface with that of the mail.

What is here was gathered from what mail programs show, language by language, and from
public locale data (Unicode CLDR) for the months.
"""

from __future__ import annotations

from typing import Final

FROM: Final = "from"
DATE: Final = "date"
TO: Final = "to"
CC: Final = "cc"
SUBJECT: Final = "subject"
OTHER: Final = "other"
"""A label of such a header that names neither a person nor a date."""

_ORDER: Final = (FROM, DATE, TO, CC, SUBJECT)

# language | sender | date | recipients | copies | subject
_TABLE: Final = """
en|From|Sent,Date,Sent on,Date sent|To|Cc|Subject
de|Von|Gesendet,Datum,Gesendet am|An|Cc,Kopie,In Kopie|Betreff
fr|De,Expéditeur|Envoyé,Date,Envoyé le,Date d'envoi|À,A,Destinataire,Pour|Cc,Copie,Copie à|Objet,Sujet
es|De,Remitente|Enviado,Fecha,Enviado el,Enviado a las|Para,A,Destinatario|CC,Cc,Copia|Asunto
pt|De,Remetente|Enviado,Enviada,Data,Enviado em,Enviada em,Data de envio|Para,Destinatário|Cc,Cópia|Assunto
it|Da,Mittente|Inviato,Data,Inviata,Inviato il|A,Destinatario|Cc,Copia|Oggetto
nl|Van,Afzender|Verzonden,Datum,Verstuurd,Verzonden op|Aan|Cc,CC|Onderwerp
af|Van,Vanaf|Gestuur,Datum|Aan|Cc,Afskrif|Onderwerp
da|Fra|Sendt,Dato|Til|Cc,Kopi|Emne
nb|Fra|Sendt,Dato|Til|Kopi,Cc|Emne
nn|Frå|Sendt,Dato|Til|Kopi|Emne
sv|Från|Skickat,Datum,Skickades|Till|Kopia,Cc|Ämne
fi|Lähettäjä,Keneltä|Lähetetty,Päivämäärä,Pvm,Päiväys|Vastaanottaja,Kenelle|Kopio|Aihe
is|Frá,Sendandi|Sent,Dagsetning,Dags|Til,Viðtakandi|Afrit|Efni
et|Saatja,Kellelt|Saadetud,Kuupäev,Saatmisaeg|Adressaat,Saaja,Kellele|Koopia|Teema
lv|No,Sūtītājs|Nosūtīts,Datums,Sūtīts|Kam,Adresāts|Kopija|Temats,Tēma
lt|Nuo,Siuntėjas|Išsiųsta,Data,Išsiuntimo data|Kam,Iki,Gavėjas|Kopija|Tema
pl|Od,Nadawca|Wysłano,Data,Wysłane,Data wysłania|Do,Adresat|DW,Kopia,Do wiadomości|Temat
cs|Od,Odesílatel|Odesláno,Datum,Odesláno dne|Komu,Příjemce,Adresát|Kopie|Předmět
sk|Od,Odosielateľ|Odoslané,Dátum,Odoslaná|Komu,Pre,Adresát|Kópia|Predmet
sl|Od,Pošiljatelj|Poslano,Datum|Za,Prejemnik|Kp,Kopija|Zadeva
hr|Od,Šalje,Pošiljatelj|Poslano,Datum,Poslano dana|Za,Prima,Primatelj|Kopija|Predmet
sr|Од,Od,Šalje,Шаље|Послато,Poslato,Датум|За,Za,Прима|Копија|Наслов,Naslov,Тема
bg|От,Подател|Изпратено,Дата|До,Получател|Копие|Тема,Относно
mk|Од,Испраќач|Испратено,Датум|До,За|Копија|Предмет,Наслов
ru|От,От кого,Отправитель|Отправлено,Дата|Кому,Получатель|Копия|Тема
uk|Від,Від кого,Відправник|Надіслано,Дата,Відправлено|Кому,Одержувач|Копія|Тема
be|Ад,Ад каго|Адпраўлена,Дата|Каму|Копія|Тэма
kk|Кімнен,Жіберуші|Жіберілді,Күні|Кімге|Көшірме|Тақырыбы
ro|De la,De,Expeditor,Expeditorul|Trimis,Data,Trimis la,Dată|Către,La,Catre,Destinatar,Destinatarul|Cc,Copie|Subiect,Subiectul
hu|Feladó,Küldő|Elküldve,Dátum,Küldve,Küldés dátuma|Címzett|Másolatot kap,Másolat,Cc|Tárgy
el|Από,Αποστολέας|Στάλθηκε,Ημερομηνία,Εστάλη,Ημ/νία|Προς,Παραλήπτης|Κοιν,Κοινοποίηση|Θέμα
tr|Kimden,Gönderen|Gönderildi,Tarih,Gönderme Tarihi,Gönderilme tarihi|Kime,Alıcı|Bilgi,Cc|Konu
az|Kimdən,Göndərən|Göndərildi,Tarix|Kimə|Surət|Mövzu
ca|De|Enviat,Data,Enviat el|A,Per a,Per|Cc,A/c|Assumpte,Tema
gl|De|Enviado,Data|Para,A|Cc|Asunto
eu|Nork,Bidaltzailea|Bidalita,Data,Noiz|Nori,Hartzailea|Kopia|Gaia
ga|Ó|Seolta,Dáta|Chuig,Go|Cc|Ábhar
cy|Oddi wrth,Gan|Anfonwyd,Dyddiad|At|Cc,Copi|Pwnc,Testun
sq|Nga|Dërguar,Data,Dërguar më|Për,Te|Kopje|Tema,Subjekti,Lënda
ka|გამომგზავნი,ვისგან|გაგზავნილია,თარიღი|მიმღები,ვის,ადრესატი|ასლი|თემა,საგანი
hy|Ումից,Ուղարկող|Ուղարկվել է,Ամսաթիվ|Ում,Ստացող|Պատճեն|Թեմա
he|מאת|נשלח,תאריך|אל|עותק,העתק|נושא
ar|من,المرسل|تاريخ الإرسال,التاريخ,أرسلت,تم الإرسال,تاريخ,أُرسلت|إلى,المستلم|نسخة,نسخة إلى|الموضوع,العنوان
fa|از,فرستنده|تاریخ,ارسال شده,ارسال|به,گیرنده|رونوشت|موضوع
ur|منجانب,از طرف|تاریخ,ارسال کردہ|بنام,بہ|کاپی|موضوع
hi|प्रेषक,से|भेजा गया,दिनांक,तारीख|प्रति,को,प्राप्तकर्ता|प्रतिलिपि|विषय
bn|প্রেরক,থেকে|পাঠানো হয়েছে,তারিখ|প্রাপক,প্রতি|অনুলিপি|বিষয়
th|จาก,ผู้ส่ง|ส่ง,ส่งเมื่อ,วันที่|ถึง|สำเนา,สำเนาถึง|เรื่อง,หัวเรื่อง,หัวข้อ
vi|Từ,Người gửi|Đã gửi,Ngày,Gửi,Vào|Đến,Tới,Người nhận|Cc,Đồng gửi|Chủ đề,Tiêu đề
id|Dari|Dikirim,Tanggal|Kepada,Ke,Untuk|Cc,Tembusan|Perihal,Subjek,Judul
ms|Daripada,Dari|Dihantar,Tarikh|Kepada,Ke|Sk|Subjek,Perkara
tl|Mula kay,Mula sa|Ipinadala,Petsa|Para kay,Kay|Cc|Paksa
sw|Kutoka,Kutoka kwa|Imetumwa,Tarehe|Kwa|Nakala|Mada,Somo
zh|发件人,发送人,寄件人,寄件者,寄件人員|发送时间,日期,发送日期,时间,傳送時間,寄件日期,已傳送,已发送,寄送時間|收件人,收件者|抄送,副本,抄送人|主题,主旨,主題,标题
ja|差出人,送信者,From,送信元|送信日時,日付,日時,送信日|宛先,To,送信先|CC,Cc|件名
ko|보낸 사람,보낸사람,발신|보낸 날짜,날짜,보낸날짜,일시|받는 사람,받는사람,받은 사람,수신|참조|제목
"""

_OTHERS: Final = (
    "Reply-To", "Reply To", "Antwort an", "Bcc", "Importance", "Priority", "Wichtigkeit",
    "Attachments", "Anlagen", "Organization", "Message-ID", "Mailed-By", "Signed-By",
    "Répondre à", "Importance", "Pièces jointes", "Responder a", "Importancia", "Rispondi a",
    "Bilaga", "Priorität", "回复", "添付ファイル", "附件", "첨부",
)  # fmt: skip

# Lines above a forwarded mail.
_FORWARDED: Final = """
Forwarded message|Forwarded Message|Begin forwarded message|Forwarded mail|Start of forwarded message|Forward Header|Forwarded email
Weitergeleitete Nachricht|Anfang der weitergeleiteten Nachricht|Weitergeleitete Mail|Weitergeleitete E-Mail|Weitergeleitete Nachricht Anfang
Message transféré|Message réexpédié|Message transmis|Début du message réexpédié|Début du message transféré|Mail transféré|Courriel transféré
Mensaje reenviado|Inicio del mensaje reenviado|Mensaje reenviado desde|Comienza mensaje reenviado
Mensagem encaminhada|Mensagem reencaminhada|Início da mensagem reencaminhada|Início da mensagem encaminhada|Mensagem Reenviada|E-mail encaminhado
Messaggio inoltrato|Inizio messaggio inoltrato|Inizio del messaggio inoltrato|Messaggio Inoltrato
Doorgestuurd bericht|Begin doorgestuurd bericht|Doorgestuurde bericht|Begin van doorgestuurd bericht
Aangestuurde boodskap|Aangestuurde e-pos
Videresendt meddelelse|Start på videresendt besked|Videresendt besked|Videresendte besked|Videresendt mail
Videresendt melding|Begynnelse på videresendt melding|Videresendt e-post|Vidaresend melding
Vidarebefordrat meddelande|Vidarebefordrat brev|Vidarebefordrat mejl|Börja vidarebefordrat meddelande|Början på vidarebefordrat meddelande
Välitetty viesti|Välitetty viesti alkaa|Edelleenlähetetty viesti|Alkaa välitetty viesti|Lähetetty edelleen
Framsent skeyti|Framsendur póstur|Áframsent skeyti
Edastatud kiri|Edastatud sõnum|Edasisaadetud kiri
Pārsūtīts ziņojums|Pārsūtītā ziņa|Pārsūtīta vēstule|Pārsūtītais ziņojums
Persiųstas laiškas|Persiunčiamas laiškas|Persiųsta žinutė|Persiųstas pranešimas
Przekazana wiadomość|Wiadomość przekazana dalej|Treść przekazanej wiadomości|Początek przekazywanej wiadomości|Wiadomość przekazana
Přeposlaná zpráva|Předaná zpráva|Začátek přeposílané zprávy|Přeposlany e-mail|Přeposlaný e-mail
Preposlaná správa|Začiatok preposlanej správy|Preposlaný e-mail
Posredovano sporočilo|Začetek posredovanega sporočila
Proslijeđena poruka|Započni proslijeđenu poruku|Početak proslijeđene poruke
Prosleđena poruka|Прослеђена порука|Проследјена порука
Препратено съобщение|Препратено писмо|Начало на препратеното съобщение
Препратена порака
Пересылаемое сообщение|Перенаправленное сообщение|Пересланное сообщение|Начало переадресованного сообщения|Начало пересылаемого сообщения|Пересылаемое письмо
Переслане повідомлення|Переслане повідомлення розпочато|Початок листа, що пересилається|Пересланий лист|Перенаправлене повідомлення
Перасланае паведамленне|Перасланы ліст
Қайта жіберілген хабар|Қайта жолданған хат
Mesaj redirecționat|Mesaj redirecţionat|Început mesaj redirecționat|Începe mesajul redirecționat|Mesaj transmis|Începutul mesajului redirecționat
Továbbított üzenet|Továbbított levél|Továbbított üzenet kezdete|Továbbított levél eleje|Továbbított levél kezdete
Προωθημένο μήνυμα|Αρχή προωθημένου μηνύματος|Αρχή του προωθημένου μηνύματος|Μήνυμα προώθησης
İletilen ileti|Yönlendirilen ileti|İletilmiş mesaj|İleti başlangıcı|Yönlendirilmiş ileti başlangıcı|İletilen mesaj
Yönləndirilmiş mesaj|Yönləndirilən mesaj
Missatge reenviat|Inici del missatge reenviat
Mensaxe reenviada|Correo reenviado|Mensaxe reencamiñada
Birbidalitako mezua|Birbidalitako mezuaren hasiera
Teachtaireacht curtha ar aghaidh|Teachtaireacht atreoraithe
Neges wedi'i hanfon ymlaen|Neges a Anfonwyd Ymlaen
Mesazh i përcjellë|Mesazhi i përcjellë
გადამისამართებული შეტყობინება|გადაგზავნილი წერილი
Վերահասցեավորված նամակ|Փոխանցված հաղորդագրություն
הודעה שהועברה|תחילת ההודעה שהועברה|הודעה מועברת
رسالة معاد توجيهها|الرسالة المعاد توجيهها|رسالة تمت إعادة توجيهها|رسالة محولة|بداية الرسالة المعاد توجيهها|بدء الرسالة المُعاد توجيهها
پیام هدایت‌شده|پیام هدایت شده|پیام باز ارسال شده|پیام ارسال‌شده
آگے بھیجا گیا پیغام|فارورڈ کردہ پیغام
अग्रेषित संदेश|फ़ॉरवर्ड किया गया संदेश|अग्रेषित किया गया संदेश
ফরোয়ার্ড করা বার্তা|ফরওয়ার্ড করা মেসেজ
ข้อความที่ส่งต่อ|จดหมายที่ถูกส่งต่อ|เริ่มข้อความที่ส่งต่อ|อีเมลที่ส่งต่อ
Thư được chuyển tiếp|Tin nhắn được chuyển tiếp|Thư đã chuyển tiếp|Bắt đầu thư được chuyển tiếp|Email được chuyển tiếp
Pesan terusan|Pesan yang diteruskan|Pesan diteruskan|Mulai pesan yang diteruskan|Awal pesan yang diteruskan
Mesej dimajukan|Mesej yang dimajukan|Mesej dikirim semula
Ipinasa na mensahe|Naka-forward na mensahe
Ujumbe uliosambazwa|Ujumbe uliotumwa
转发的邮件|转发邮件|被转发邮件信息|开始转发的邮件|以下是转发的邮件|已转发邮件|转发邮件信息|轉寄的郵件|轉寄郵件|開始轉寄郵件|轉寄的電子郵件|轉寄的訊息|轉寄訊息|轉發的郵件
転送メッセージ|転送されたメッセージ|転送されたメール|メッセージを転送|Forwarded by
전달된 메시지|전달된 메일|전달한 메일|전달한 메시지|메일 전달|전달된 메세지
"""
_ORIGINAL: Final = """
Original Message|Original message|Original Email|Original mail|Original Appointment
Ursprüngliche Nachricht|Originalnachricht|Original-Nachricht|Ursprüngliche E-Mail
Message d'origine|Message original|Message d’origine|Courriel original|Message initial
Mensaje original|Mensagem original|Messaggio originale|Messaggio Originale|Missatge original|Mensaxe orixinal|Jatorrizko mezua
Oorspronkelijk bericht|Oorspronklike boodskap
Oprindelig meddelelse|Original meddelelse|Oprindelig besked|Opprinnelig melding|Opphavleg melding
Ursprungligt meddelande|Originalmeddelande|Alkuperäinen viesti|Upprunaleg skilaboð
Algne kiri|Algne sõnum|Sākotnējais ziņojums|Oriģinālais ziņojums|Pradinis laiškas|Originalus laiškas|Pirminė žinutė
Wiadomość oryginalna|Oryginalna wiadomość|Původní zpráva|Pôvodná správa|Izvirno sporočilo|Izvorna poruka|Originalna poruka|Оригинална порука
Оригинално съобщение|Изходно съобщение|Оригинална порака|Исходное сообщение|Оригинальное сообщение|Вихідне повідомлення|Оригінальне повідомлення
Mesaj original|Mesajul original|Eredeti üzenet|Eredeti levél|Αρχικό μήνυμα|Αρχικό Μήνυμα|Orijinal mesaj|Özgün ileti|Orijinal İleti|Orijinal ileti
הודעה מקורית|الرسالة الأصلية|رسالة أصلية|پیام اصلی|मूल संदेश|ข้อความต้นฉบับ|ข้อความเดิม|Thư gốc|Tin nhắn gốc|Pesan Asli|Pesan asli|Mesej Asal|Mesej asal
原始邮件|邮件原件|原邮件|原始郵件|原始訊息|元のメッセージ|オリジナルメッセージ|원본 메시지|원본 메일|원본메시지
"""

PREFIXES: Final = frozenset(
    [
        "fw",
        "fwd",
        "fwd.",
        "wg",
        "weitergeleitet",
        "tr",
        "rv",
        "enc",
        "i",
        "inoltra",
        "doorst",
        "doorgest",
        "vb",
        "vl",
        "pd",
        "podaj",
        "továbbítás",
        "tov",
        "továbbítva",
        "ilt",
        "i̇lt",
        "πρθ",
        "προωθ",
        "fs",
        "pārs",
        "pers",
        "edasi",
        "proslijeđeno",
        "přep",
        "předáno",
        "prp",
        "preposlané",
        "posr",
        "перес",
        "пересл",
        "перенапр",
        "пересилання",
        "препрат",
        "ber",
        "berri",
        "trs",
        "terusan",
        "chuyển",
        "转发",
        "轉寄",
        "轉發",
        "回覆轉寄",
        "転送",
        "전달",
        "הועבר",
        "הע",
        "إعادة",
        "ارجاع",
        "fvd",
        "tr.",
        "fwd:",
        "redir",
        "réexp",
        "reenv",
        "reenviado",
        "encaminhado",
        "rencaminhado",
        "anfon",
        "atb.fw",
        "yönl",
        "转",
        "轉",
        "ftw",
        "fyi-fw",
        "redir.",
        "videresend",
        "videresendt",
        "vidarebefordrat",
        "välitetty",
        "edelleenlähetetty",
        "transfert",
        "inoltro",
        "reenviar",
        "iletildi",
        "إعادة توجيه",
        "ส่งต่อ",
    ]
)
"""What stands before the subject of a forwarded mail."""

WEAK: Final = {"vs": frozenset({"da", "nb", "nn"})}
"""Of these the language decides: `VS:` is a forward in Danish, a reply in Finnish."""

REPLIES: Final = frozenset(
    [
        "re",
        "aw",
        "sv",
        "antw",
        "odp",
        "res",
        "r",
        "rif",
        "ref",
        "ré",
        "vs",
        "ynt",
        "yan",
        "απ",
        "σχετ",
        "vá",
        "na",
        "ats",
        "atb",
        "bls",
        "回复",
        "回覆",
        "答复",
        "答覆",
        "返信",
        "답장",
        "회신",
        "השב",
        "رد",
        "পুনঃ",
        "hồi",
        "bal",
        "bls.",
        "on",
        "reply",
        "antwort",
        "antwoord",
        "svar",
        "odpověď",
        "відп",
        "ответ",
        "отв",
    ]
)

ON_BEHALF: Final = (
    "im auftrag von", "i.a. von", "on behalf of", "on-behalf-of", "au nom de",
    "de la part de", "en nombre de", "em nome de", "per conto di", "a nome di", "namens",
    "på vegne af", "på vegne av", "för räkning", "på uppdrag av", "i imieniu", "w imieniu",
    "jménem", "v mene", "v imenu", "u ime", "от имени", "від імені", "от името на", "în numele",
    "nevében", "εκ μέρους", "adına", "en nom de", "بالنيابة عن", "نيابة عن", "בשם", "代表",
    "の代理", "대신", "thay mặt", "atas nama", "ในนามของ",
)  # fmt: skip
"""Between the one who sent a mail and the one in whose name it was sent."""

# The beginnings of the names of months, from January on.
_MONTHS: Final = """
en jan feb mar apr may jun jul aug sep oct nov dec
de jan,jän feb mär,mrz apr mai jun jul aug sep okt nov dez
fr janv févr,fevr mars avr mai juin juil août,aout sept oct nov déc,dec
es ene feb mar abr may jun jul ago sep,set oct nov dic
pt jan fev mar abr mai jun jul ago set out nov dez
it gen feb mar apr mag giu lug ago set ott nov dic
nl jan feb maart,mrt apr mei jun jul aug sep okt nov dec
af jan feb mrt,maart apr mei jun jul aug sep okt nov des
da jan feb mar apr maj jun jul aug sep okt nov dec
nb jan feb mar apr mai jun jul aug sep okt nov des
nn jan feb mar apr mai jun jul aug sep okt nov des
sv jan feb mar apr maj jun jul aug sep okt nov dec
fi tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu
is jan feb mar apr maí jún júl ágú sep okt nóv des
et jaan veeb mär apr mai juun juul aug sept okt nov dets
lv jan feb mar apr mai jūn jūl aug sept okt nov dec
lt saus vas kov bal geg bir liep rugp rugs spal lap gruo
pl sty lut mar kwi maj cze lip sie wrz paź,paz lis gru
cs led úno,uno bře,bre dub kvě,kve červn,čvn červenc,čvc srp zář,zar říj,rij lis pro
sk jan feb mar apr máj jún júl aug sep okt nov dec
sl jan feb mar apr maj jun jul avg sep okt nov dec
hr sij velj ožu tra svi lip srp kol ruj lis stu pro
sr јан,jan феб,feb мар,mar апр,apr мај,maj јун,jun јул,jul авг,avg сеп,sep окт,okt нов,nov дец,dec
bg ян фев март,мар апр май юни юли авг септ окт ное дек
mk јан фев мар апр мај јун јул авг сеп окт ное,нов дек
ru янв фев мар апр мая,май июн июл авг сен окт ноя дек
uk січ лют бер квіт трав черв лип серп вер жовт лист груд
be студ лют сак крас мая,май чэрв ліп жні вер каст ліст снеж
kk қаң ақп нау сәу мам мау шіл там қыр қаз қар жел
ro ian feb mar apr mai iun iul aug sep oct noi,nov dec
hu jan feb már ápr máj jún júl aug szept okt nov dec
el ιαν,ιανουαρ φεβ μαρ,μάρ απρ μαΐ,μαϊ,μάι,μαι ιουν,ιούν ιουλ,ιούλ αυγ,αύγ σεπ οκτ νοε,νοέ δεκ
tr oca şub mar nis may haz tem ağu eyl eki kas ara
az yan fev mar apr may iyn,iyun iyl,iyul avq sen okt noy dek
ca gen febr,feb març abr maig juny jul ag set oct nov des
gl xan feb mar abr mai xuñ xul ago set out nov dec
eu urt ots mar api mai eka uzt abu ira urr aza abe
ga ean feabh már aib beal meith iúil lún mfómh,meán dfómh,deireadh samh noll
cy ion chwe maw ebr mai meh gor aws medi hyd tach rhag
sq jan shk mar pri maj qer kor gus sht tet nën dhj
ka იან თებ მარ აპრ მაი ივნ ივლ აგვ სექ ოქტ ნოე დეკ
hy հնվ,հուն փտվ,փետ մրտ,մար ապր մայ հնս,հունիս հլս,հուլ օգս սեպ հոկ նոյ դեկ
he ינו פבר מרץ,מרס אפר מאי יוני יולי אוג ספט אוק נוב דצמ
ar يناير,كانون فبراير,شباط مارس,آذار أبريل,نيسان,ابريل مايو,أيار يونيو,حزيران يوليو,تموز أغسطس,آب سبتمبر,أيلول أكتوبر,اكتوبر نوفمبر ديسمبر
fa ژانو فور مار آور مه ژوئن ژوئی,ژوئیه اوت سپت اکت نوام دسام
ur جنور فرور مارچ اپریل مئی جون جولائ اگست ستمبر اکتوبر نومبر دسمبر
hi जन फ़र,फर मार्च अप्रै मई जून जुल अग सित अक्तू,अक्टू नव दिस
bn জানু ফেব মার্চ এপ্রিল মে জুন জুলাই আগ সেপ অক্টো নভে ডিসে
th ม.ค,มกรา ก.พ,กุมภา มี.ค,มีนา เม.ย,เมษา พ.ค,พฤษภา มิ.ย,มิถุนา ก.ค,กรกฎา ส.ค,สิงหา ก.ย,กันยา ต.ค,ตุลา พ.ย,พฤศจิกา ธ.ค,ธันวา
id jan feb mar apr mei jun jul agu,agt sep okt nov des
ms jan feb mac apr mei jun jul ogo,ogos sep okt nov dis
tl ene peb mar abr may hun hul ago set okt nob dis
sw jan feb mac apr mei jun jul ago sep okt nov des
"""


def _labels() -> dict[str, tuple[str, frozenset[str]]]:
    """Return what each label means, and in which languages."""
    meant: dict[str, str] = {}
    spoken: dict[str, set[str]] = {}
    for row in _TABLE.strip().split("\n"):
        language, *columns = row.split("|")
        for kind, names in zip(_ORDER, columns, strict=True):
            for name in names.split(","):
                key = name.strip("\u200f\u200e ").casefold()
                meant.setdefault(key, kind)
                spoken.setdefault(key, set()).add(language)
    for name in _OTHERS:
        meant.setdefault(name.casefold(), OTHER)
    return {
        name: (kind, frozenset(spoken.get(name, ()))) for name, kind in meant.items()
    }


def _phrases(table: str) -> frozenset[str]:
    rows = table.strip().split("\n")
    return frozenset(one.strip().casefold() for row in rows for one in row.split("|"))


def _months() -> dict[str, tuple[tuple[str, int], ...]]:
    """Return for each language the beginnings of its months, the longest first."""
    found = {}
    for row in _MONTHS.strip().split("\n"):
        language, *names = row.split(" ")
        pairs = [
            (stem, number)
            for number, stems in enumerate(names, 1)
            for stem in stems.split(",")
        ]
        found[language] = tuple(sorted(pairs, key=lambda pair: -len(pair[0])))
    return found


LABELS: Final = _labels()
LONGEST_LABEL: Final = max(map(len, LABELS))
FORWARDED: Final = _phrases(_FORWARDED)
ORIGINAL: Final = _phrases(_ORIGINAL)
MONTHS: Final = _months()
LANGUAGES: Final = tuple(row.split("|")[0] for row in _TABLE.strip().split("\n"))
