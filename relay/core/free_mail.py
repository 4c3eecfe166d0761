"""Domains in which anybody may open a mailbox.

An address there says nothing about the company of its owner: such a domain is never one
of our own, and `*@gmail.com` as an accepted address would let the whole world send. The
list holds the large providers and the mail of large access providers; one that is
missing is treated like the domain of a company: `match.internal_domains` without
`auto`, and the names of those that are, is the way out.
"""

from __future__ import annotations

from typing import Final

FREE_MAIL: Final = frozenset(
    """
    gmail.com googlemail.com
    outlook.com outlook.at outlook.be outlook.co.id outlook.com.ar outlook.com.au
    outlook.com.br outlook.com.gr outlook.com.tr outlook.com.vn outlook.cz outlook.de
    outlook.dk outlook.es outlook.fr outlook.hu outlook.ie outlook.in outlook.it
    outlook.jp outlook.kr outlook.lv outlook.my outlook.ph outlook.pt outlook.sa
    outlook.sg outlook.sk
    hotmail.com hotmail.be hotmail.ca hotmail.ch hotmail.cl hotmail.co.jp hotmail.co.nz
    hotmail.co.th hotmail.co.uk hotmail.com.ar hotmail.com.au hotmail.com.br
    hotmail.com.tr hotmail.de hotmail.dk hotmail.es hotmail.fi hotmail.fr hotmail.gr
    hotmail.it hotmail.nl hotmail.no hotmail.se
    live.com live.at live.be live.ca live.cl live.cn live.co.uk live.co.za live.com.ar
    live.com.au live.com.mx live.com.pt live.de live.dk live.fr live.ie live.in live.it
    live.jp live.nl live.no live.se msn.com passport.com windowslive.com
    yahoo.com yahoo.ca yahoo.co.id yahoo.co.in yahoo.co.jp yahoo.co.kr yahoo.co.nz
    yahoo.co.uk yahoo.com.ar yahoo.com.au yahoo.com.br yahoo.com.hk yahoo.com.mx
    yahoo.com.ph yahoo.com.sg yahoo.com.tr yahoo.com.tw yahoo.com.vn yahoo.de yahoo.dk
    yahoo.es yahoo.fr yahoo.gr yahoo.ie yahoo.in yahoo.it yahoo.no yahoo.pl yahoo.ro
    yahoo.se ymail.com rocketmail.com myyahoo.com
    aol.com aol.co.uk aol.de aol.fr aol.it aim.com netscape.net love.com games.com
    icloud.com me.com mac.com
    proton.me protonmail.com protonmail.ch pm.me tutanota.com tutanota.de tuta.com
    tuta.io tutamail.com keemail.me
    privaterelay.appleid.com duck.com mozmail.com simplelogin.com addy.io anonaddy.com
    fastmail.com fastmail.fm fastmail.net hey.com hushmail.com runbox.com posteo.de
    posteo.net posteo.org mailbox.org mailfence.com startmail.com zoho.com zohomail.com
    zohomail.eu zohomail.in
    mail.com email.com usa.com europe.com asia.com post.com consultant.com engineer.com
    gmx.com gmx.net gmx.de gmx.at gmx.ch gmx.eu gmx.fr gmx.us gmx.co.uk gmx.org gmx.info
    web.de email.de t-online.de magenta.de freenet.de arcor.de online.de 1und1.de
    kabelmail.de vodafone.de o2online.de unitybox.de aon.at chello.at bluewin.ch
    hispeed.ch sunrise.ch
    orange.fr wanadoo.fr free.fr laposte.net sfr.fr neuf.fr bbox.fr numericable.fr
    libero.it virgilio.it tiscali.it alice.it tin.it iol.it tim.it email.it inwind.it
    telefonica.net terra.es ono.com sapo.pt iol.pt
    ziggo.nl kpnmail.nl planet.nl hetnet.nl home.nl xs4all.nl telenet.be skynet.be
    proximus.be
    btinternet.com btopenworld.com talktalk.net virginmedia.com virgin.net sky.com
    ntlworld.com blueyonder.co.uk tiscali.co.uk eircom.net
    telia.com bredband.net spray.se online.no getmail.no jubii.dk mail.dk elisanet.fi
    kolumbus.fi luukku.com
    o2.pl wp.pl onet.pl onet.eu interia.pl interia.eu op.pl vp.pl gazeta.pl
    poczta.onet.pl tlen.pl seznam.cz email.cz centrum.cz volny.cz post.cz centrum.sk
    azet.sk zoznam.sk
    freemail.hu citromail.hu abv.bg mail.bg
    mail.ru inbox.ru list.ru bk.ru internet.ru rambler.ru yandex.ru yandex.com ya.ru
    yandex.by yandex.kz yandex.ua ukr.net i.ua meta.ua
    comcast.net xfinity.com att.net sbcglobal.net bellsouth.net verizon.net cox.net
    charter.net spectrum.net earthlink.net juno.com netzero.net optonline.net
    frontier.com windstream.net centurylink.net rogers.com shaw.ca sympatico.ca bell.net
    telus.net videotron.ca
    bigpond.com bigpond.net.au optusnet.com.au iinet.net.au xtra.co.nz
    uol.com.br bol.com.br terra.com.br ig.com.br globo.com globomail.com
    qq.com foxmail.com 163.com 126.com yeah.net sina.com sina.cn sohu.com aliyun.com
    139.com 189.cn naver.com hanmail.net daum.net nate.com rediffmail.com
    docomo.ne.jp ezweb.ne.jp softbank.ne.jp nifty.com
    """.split()  # noqa: SIM905 - a table of words reads better than 300 strings
)


def is_free_mail(domain: str) -> bool:
    """Say whether anybody may have a mailbox in a domain, given as a domain key."""
    return domain in FREE_MAIL
