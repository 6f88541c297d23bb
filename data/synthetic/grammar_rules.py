"""The rules and the words of the grammar, as text that is read once."""

import re
from typing import NamedTuple


class Symbol(NamedTuple):
    """A symbol on the right side of a rule, as it is written: `?PP.day`, `city:to.city`, `quality-`, `the/DET`.

    Attributes:
        name: of a rule (in capitals) or a class of words, or a word.
        tag: of a word ("the/DET"), else empty.
        slot: that its words fill ("city:to.city"), else empty.
        sign: −1 where it expresses the opposite polarity ("quality-"), else 1.
        key: True where its words are a key phrase ("NP.topic*").
        optional: True where it is left out half of the time ("?PP.day").
    """

    name: str
    tag: str
    slot: str
    sign: int
    key: bool
    optional: bool


Rule = tuple[tuple[Symbol, ...], ...]  # right sides, one of which is drawn
_SYMBOL = re.compile(r"(\?)?([^\s/:*]+?)(?:/([A-Z]+)|:([a-z._]+))?(-)?(\*)?")
# Alternatives stand between bars; an indented line continues the one before.
# What follows the dot in a name isn't in the tree.
_RULES = """
REQUEST    = S.flight | S.fare | S.table | S.weather | S.music
S.flight   = VP.show | NP.us VP.want | can/AUX NP.you VP.find | NP.which VP.leave
VP.show    = show/VERB NP.me NP.flights
VP.want    = want/VERB VP.to | would/AUX like/VERB NP.flights | need/VERB NP.flights
VP.to      = to/PART VP.fly
VP.fly     = fly/VERB PP.from PP.to ?PP.day | book/VERB NP.flights | fly/VERB PP.to PP.from ?airline:airline
VP.find    = find/VERB NP.me NP.flights | book/VERB NP.flights PP.forme
NP.which   = which/DET flights/NOUN
VP.leave   = leave/VERB city:from.city ?PP.day PP.to | go/VERB PP.from PP.to ?PP.day
NP.flights = a/DET ?cost:cost flight/NOUN PP.from PP.to ?PP.day | NP.several PP.from PP.to ?PP.day
NP.several = ?cost:cost flights/NOUN | ?airline:airline flights/NOUN
S.fare     = what/PRON is/AUX NP.fare | show/VERB NP.me NP.fares | how/ADV much/ADV is/AUX NP.fare
NP.fare    = the/DET ?cost:cost fare/NOUN PP.from PP.to ?PP.day
NP.fares   = ?cost:cost fares/NOUN ?PP.on PP.from PP.to
PP.on      = on/ADP airline:airline
PP.from    = from/ADP city:from.city
PP.to      = to/ADP city:to.city
PP.day     = on/ADP day:day ?part:time | before/ADP number:time ?o'clock/ADV | at/ADP number:time
PP.forme   = for/ADP NP.me
S.table    = book/VERB NP.table | can/AUX NP.you reserve/VERB NP.table | NP.us need/VERB NP.table
NP.table   = a/DET table/NOUN PP.people ?PP.place ?PP.day | a/DET cuisine:cuisine place/NOUN PP.in PP.people
PP.people  = for/ADP number:people
PP.place   = at/ADP restaurant:restaurant
PP.in      = in/ADP city:city
S.weather  = will/AUX NP.it rain/VERB PP.in ?PP.day | what/PRON will/AUX NP.sky be/AUX like/ADP PP.in ?PP.day
           | is/AUX NP.it sky:condition PP.in
NP.sky     = the/DET weather/NOUN
S.music    = play/VERB NP.song | NP.us want/VERB to/PART hear/VERB NP.song | can/AUX NP.you play/VERB NP.song
NP.song    = title:title PP.by | a/DET song/NOUN PP.by | the/DET record/NOUN SBAR.band | title:title
PP.by      = by/ADP band:band
SBAR.band  = that/PRON band:band made/VERB

STORY      = S
S          = NP VP | NP VP | NP AUXP | NP VP.think | that/PRON VP.be | there/PRON VP.there
NP         = pronoun | name | det thing | det trait thing | det person | det trait person | NP.who
NP.obj     = object | name | det thing | det thing | det trait thing | det person | det trait person | NP.who
NP.who     = det person SBAR.who | det thing SBAR.what | det person PP.with | det thing PP.like
SBAR.who   = that/PRON VP | that/PRON NP.i seen
SBAR.what  = that/PRON NP.i made | NP.i made | that/PRON VP.be
VP         = seen NP.obj | made NP.obj | seen NP.obj PP.with | went PP.there
           | seen NP.obj manner | left/VERB NP.obj ?ADVP
ADVP       = manner | back/ADV | fast/ADV | ADVP.so
ADVP.so    = so/ADV manner
AUXP       = modal VP.bare | modal not/PART VP.bare | did/AUX not/PART VP.bare
VP.bare    = see NP.obj | make NP.obj | make NP.obj PP.with | like/VERB NP.obj
           | walk/VERB PP.there | fly/VERB back/ADV
VP.think   = thought SBAR.that | thought S | told NP.obj SBAR.that
SBAR.that  = that/SCONJ S
VP.be      = was/AUX NP.obj | was/AUX trait | was/AUX not/PART trait
VP.there   = was/VERB NP.a PP.there | was/VERB NP.a PP.with
NP.a       = a/DET thing | no/DET thing | a/DET person | no/DET person
PP.with    = with/ADP NP.thing
NP.thing   = det thing
PP.like    = like/ADP that/PRON | like/ADP NP.me
PP.there   = in/ADP NP.place | to/ADP NP.place | by/ADP NP.place
NP.place   = det place

OPINION    = S.opinion
S.opinion  = NP.work VP.is | NP.work VP.is | NP.i VP.feel | S.turn | S.both | NP.i thought SBAR.opinion
S.turn     = S.half- ,/PUNCT but/CCONJ S.half
S.both     = NP.work VP.is and/CCONJ VP.is
S.half     = NP.work VP.is
SBAR.opinion = ?that/SCONJ S.half
NP.work    = the/DET work | this/DET ?trait work | that/DET work | the/DET work PP.work
PP.work    = of/ADP the/DET work
VP.is      = was/AUX ADJP | was/AUX ADJP | was/AUX ADJP.not | was/AUX NP.verdict | was/AUX not/PART NP.verdict-
ADJP.not   = NEG ADJP-
NEG        = not/PART | never/ADV | hardly/ADV | far/ADV from/ADP | anything/PRON but/CCONJ
           | not/PART at/ADV all/ADV
ADJP       = quality | quality | strongly quality | strongly quality
NP.verdict = a/DET ?real/ADJ verdict
VP.feel    = felt NP.work | did/AUX not/PART feel- NP.work
           | never/ADV felt- NP.work | could/AUX not/PART feel- NP.work

RESEARCH   = S.research
S.research = NP.we VP.study | NP.paper VP.shows | PP.unlike ,/PUNCT NP.we VP.study | NP.topic VP.help NP.topic*
NP.paper   = this/DET paper/NOUN | this/DET note/NOUN
VP.study   = study/VERB NP.topic* | propose/VERB NP.method | extend/VERB NP.topic* PP.using | show/VERB SBAR.show
VP.shows   = presents/VERB NP.method | compares/VERB NP.topic* PP.and | describes/VERB NP.topic* ?PP.using
NP.method  = a/DET ?trait method PP.for ?PP.using
PP.for     = for/ADP NP.topic*
PP.and     = with/ADP NP.topic*
PP.using   = using/VERB NP.topic | by/ADP means/NOUN of/ADP NP.topic
PP.unlike  = unlike/ADP NP.topic
VP.help    = can/AUX improve/VERB | has/AUX improved/VERB
SBAR.show  = that/SCONJ NP.topic* can/AUX replace/VERB NP.topic
NP.topic   = field task | trait field task | field field task | model | field model

NP.i       = pronoun
NP.us      = i/PRON | we/PRON
NP.we      = we/PRON
NP.you     = you/PRON
NP.me      = me/PRON
NP.it      = it/PRON
"""
# The tag of a class, then its words; of a class with polarity the positive ones, a bar, the negative ones.
_LEXICON = """
city      PROPN boston denver new_york los_angeles chicago san_diego paris kansas_city
          reading memphis st._paul lincoln
airline   PROPN delta united northern_air blue_wings pacific
cost      ADJ   cheap cheapest direct early late
day       PROPN monday tuesday wednesday thursday friday saturday sunday
part      NOUN  morning evening night
number    NUM   two three four five six seven eight nine ten
cuisine   ADJ   french thai greek spanish
restaurant PROPN delta the_blue_plate paris_house milano reading_room
sky       ADJ   sunny windy foggy cold
title     PROPN blue_river monday_morning boston_light sunny_day paris the_saw
band      PROPN boston chicago kansas the_saws reading delta blue_wings

pronoun   PRON  i we they she he
object    PRON  me us them her him that
det       DET   the the a a that that this every no
thing     NOUN  saw can book watch light plant duck table plank bat ring spring letter bank will
          play fly present record nail
person    NOUN  man woman cook guard guide pilot baker fan fool judge nurse
place     NOUN  park bank house garden yard mine court field spring
name      PROPN ann bob mary john will mark grace bill
trait     ADJ   light new fast present kind mean fair flat dear long back red
seen      VERB  saw found watched lost heard broke left
made      VERB  made sold bought fixed wanted carried
see       VERB  see watch find book guard plant
make      VERB  saw make sell ring guide cook judge mine
went      VERB  walked ran went looked
modal     AUX   can will must could may
manner    ADV   slowly quickly fast well kindly badly
thought   VERB  thought said knew felt
told      VERB  told asked

work      NOUN  film book play plot record story acting show music
quality   ADJ   good great funny moving exciting clever charming fresh
          | bad dull boring tedious weak silly clumsy flat
strongly  ADV   very truly really terribly awfully quite
verdict   NOUN  triumph delight success joy masterpiece | failure mess bore disappointment waste
felt      VERB  loved enjoyed admired praised | hated disliked regretted cursed
feel      VERB  love enjoy admire praise | hate dislike regret curse

field     NOUN  speech image language music signal gene graph network protein traffic
task      NOUN  recognition retrieval segmentation translation analysis prediction control coding
method    NOUN  method model system theory test
model     NOUN  gradient_descent decision_trees wavelets filters grammars attention
"""
SUFFIXES: dict[str, tuple[str, ...]] = {
    "city": ("ville", "ton", ""),
    "band": ("s", ""),
    "title": ("", "ing"),
    "restaurant": ("s", "ton"),
    "thing": ("er", "ment", "ness"),
    "person": ("ist", "man"),
    "trait": ("ous", "ful", "ish"),
    "manner": ("ly",),
    "made": ("ized", "ed"),
    "make": ("ize",),
    "field": ("ology",),
    "task": ("ation",),
}  # of invented words, by class


def _symbol(text: str) -> Symbol:
    optional, name, tag, slot, minus, star = re.fullmatch(_SYMBOL, text).groups()  # type: ignore[union-attr]
    return Symbol(name, tag or "", slot or "", -1 if minus else 1, bool(star), bool(optional))


def _lines(text: str) -> list[str]:
    """Returns the lines of a text, those that are indented joined to the line before."""
    return [line for line in re.sub(r"\n +", " ", text).splitlines() if line]


def _read_rules(text: str) -> dict[str, Rule]:
    lines = [line.partition("=") for line in _lines(text)]
    return {
        name.strip(): tuple(tuple(map(_symbol, side.split())) for side in sides.split("|"))
        for name, _, sides in lines
    }


def _read_lexicon(text: str) -> dict[str, tuple]:
    lines = [line.split(None, 2) for line in _lines(text)]
    return {name: (tag, *(tuple(side.split()) for side in words.split("|"))) for name, tag, words in lines}


RULES: dict[str, Rule] = _read_rules(_RULES)
LEXICON: dict[str, tuple] = _read_lexicon(_LEXICON)
