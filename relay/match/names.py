"""Words in names that tables alone know: short forms, titles, shared mailboxes.

They are compared in their plainest form, as `plain` makes it: small Latin letters, no
accents, no letter twice in a row (`bobby` is `boby`). The lists hold what is common in
business mail in European languages; a name that is missing is compared as written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT: Final = """
alexander alexandra alex sandra sasha xander
andrew andreas andre andy drew
anthony antonio anton tony toni
barbara barb babs
benjamin ben benny
bernard bernhard bernd bernie
catherine katherine katharina kathryn katarina kate kathi cathy kathy katie kitty kat
charles karl carl charlie chuck
charlotte lotte charly
christian christopher christoph chris topher kit
christina christine kristina tina christa kirsten
daniel daniela dan danny dani
david dave davy
deborah debbie deb
dorothy dorothea dora dorte dot
edward eduard edgar ed eddie ted ned
elizabeth elisabeth elisa liz lizzie beth betty eliza lisa ella elsa lise
emily emma emilia emmy
eugene eugen gene
federico frederick friedrich fred freddie fritz fede
florian flo
frances francesca francine fran franny franziska franzi
francis francisco franz frank paco francesco
gabriel gabriele gabriela gaby gabi gabe
george georg jorge georgie jurgen jorg
gerald gerard gerhard gerry gerd
gregory gregor greg
helen helena helene ellen lena
henry heinrich henrik harry hank heinz heiner
ignacio nacho
isabel isabella isabelle bella izzy
jacob jakob jake
jacqueline jackie
james jaime jim jimmy jamie
jennifer jen jenny
jessica jess jessie
johannes johann john jonathan hans jan jack johnny jon hannes ivan juan
joseph josef jose giuseppe joe joey jupp pepe beppe sepp
joanna johanna joan hanna jo
judith judy jutta
julia juliana juliane julie jule
katrin catrin kathrin
kenneth ken kenny
lawrence laurence lorenz larry laurie
leonard leonardo leo len lenny
louis ludwig luis lou luigi lutz
manuel manuela manu
margaret margarete margarita margarethe maggie meg peggy greta grete marge rita
maria marie mary mia mariella
marcus markus marc mark marco
martin martina marty
matthew matthias matteo matt matze mats
maximilian maximiliane max maxi
michael michaela mike mick micky michi miguel michel misha
natalie natasha nat
nicholas nikolaus nicolas nicola nick nico niko klaus claus
oliver olli ollie
patricia patrick pat patty tricia trish paddy
peter pete pedro piotr pietro
philip philipp phil pip
rachel rahel ray
rebecca becky becca
richard rick dick rich richie ricardo ricky
robert roberto bob rob bobby robbie bert
ronald ron ronny
samuel samantha sam sammy
sebastian bastian basti seb
stephen steven stefan stephan steve steffen
stephanie stefanie steffi steph
susan susanne susanna sue susie susi
theodore theodor ted theo teddy
theresa teresa terri tess resi
thomas tom tommy tomas tomasz
timothy tim timmy
ulrich ulrike uli ulli
valentina valerie val
veronica veronika vroni roni
victoria viktoria vicky vicki
vincent vince vincenzo enzo
walter walt wally
william wilhelm bill will billy willy liam guillermo
wolfgang wolf
zachary zach zack
"""

_LETTERS: Final = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "t"}
    | {"\u0131": "i", "'": "", "\u2019": ""}
)
_ONE_LETTER: Final = (("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a"), ("ph", "f"))
"""Letters that stand for one: an umlaut that was written out."""
_TWICE: Final = re.compile(r"(.)\1+")


@lru_cache(4096)
def plain(text: str) -> str:
    """Return a text in the plainest form: small Latin letters, none twice in a row.

    What is no letter and no digit is left out. Letters of other scripts stay.
    """
    bare = "".join(
        character
        for character in unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
        if character.isalnum() and not unicodedata.combining(character)
    )
    for long, short in _ONE_LETTER:
        bare = bare.replace(long, short)
    return squeeze(bare)


def squeeze(text: str) -> str:
    """Return a text in which no letter stands twice in a row."""
    return _TWICE.sub(r"\1", text)


def _groups() -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, line in enumerate(_SHORT.strip().splitlines()):
        for word in line.split():
            found.setdefault(plain(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


_GROUPS: Final = _groups()

_TITLES: Final = """
    dr prof professor mr mrs ms miss mx herr frau hr fr sr sra srta don dona mme mlle
    ing dipl mag phd mba msc bsc md jr jun sen ii iii iv esq via
    de van von der den del della di da du la le zu zur
"""
TITLES: Final = frozenset(map(plain, _TITLES.split()))
"""Words of a display name that name nobody: titles, degrees, particles."""

_SHARED: Final = """
    info office contact kontakt contacto contatti mail email post sales vertrieb ventas
    verkauf support help helpdesk service kundenservice admin accounting accounts
    buchhaltung rechnung billing invoice invoices finance facturation hr jobs career
    karriere marketing press presse reception empfang sekretariat einkauf purchasing
    orders order bestellung team hello hallo welcome enquiries inquiries general
    zentrale commercial compras amministrazione comptabilite logistics logistik export
    import it webmaster postmaster
"""
SHARED: Final = frozenset(map(plain, _SHARED.split()))
"""Local parts of mailboxes that several people read."""


def same_first_name(one: str, other: str) -> bool:
    """Say whether two first names, in their plainest form, may be one person's."""
    if one == other:
        return len(one) > 1
    return bool(_GROUPS.get(one, frozenset()) & _GROUPS.get(other, frozenset()))
