"""Opinions: what films and products are judged by, and the words that judge them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from transferlens.tasks.suite.lexicon import phrases, words

__all__ = ["FILMS", "FOR_WHOM", "PRODUCTS", "Domain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Words of one reviewing domain; each mapping has the keys "positive" and "negative"."""

    wholes: tuple[str, ...]
    aspects: tuple[str, ...]
    plural_aspects: tuple[str, ...]
    adjectives: MappingProxyType[str, tuple[str, ...]]
    feelings: MappingProxyType[str, tuple[str, ...]]
    verdicts: MappingProxyType[str, tuple[str, ...]]
    facts: tuple[str, ...]


FILMS = Domain(
    wholes=words("""
        adaptation comedy documentary drama film movie musical picture sequel thriller western
    """),
    aspects=phrases("""
        acting; story; plot; dialogue; soundtrack; script; ending; pacing; camera work; opening
        scene; lead actor; villain; final act; humour; love story; direction; setting; editing;
        premise; finale
    """),
    plural_aspects=phrases("""
        special effects; costumes; characters; jokes; action scenes; twists; songs;
        performances; flashbacks; fight scenes; dialogues; side characters
    """),
    adjectives=MappingProxyType(
        {
            "positive": phrases("""
                brilliant; charming; clever; compelling; delightful; elegant; excellent;
                fascinating; fresh; funny; gorgeous; gripping; heart-warming; hilarious;
                imaginative; impressive; inspired; lively; magical; memorable; moving; original;
                outstanding; perfect; powerful; refreshing; satisfying; splendid; stunning;
                superb; tender; thrilling; touching; witty; wonderful; marvellous
            """),
            "negative": phrases("""
                annoying; awful; bland; boring; cheap; clumsy; confusing; disappointing;
                dreadful; dull; empty; feeble; flat; forgettable; hollow; horrible; lazy;
                lifeless; messy; painful; pathetic; pointless; predictable; pretentious;
                ridiculous; shallow; silly; stale; stupid; tedious; terrible; tiresome;
                unbearable; uninspired; weak; wooden
            """),
        }
    ),
    feelings=MappingProxyType(
        {
            "positive": phrases("""
                admired; adored; enjoyed; loved; cherished; appreciated; really liked
            """),
            "negative": phrases("""
                hated; detested; disliked; regretted; loathed; resented; could not stand
            """),
        }
    ),
    verdicts=MappingProxyType(
        {
            "positive": phrases("""
                I would gladly see it again; it deserves every award; I smiled all the way home;
                do not miss it; the audience cheered at the end; time flew by; it stayed with me
                for days; it is worth every penny; I was moved to tears; we talked about it with
                joy all evening
            """),
            "negative": phrases("""
                I walked out halfway; I want my money back; I nearly fell asleep; do not waste
                your time; half the audience left early; I kept looking at my watch; it goes
                nowhere; save your money; I could not wait for it to end; I forgot it at once
            """),
        }
    ),
    facts=phrases("""
        it runs for about two hours; it is set in a small town; it is based on a novel; it was
        shot in black and white; it tells the story of two brothers; the cinema was half full;
        it came out last year; it was made by a first-time director; it follows a young
        detective; there is a break in the middle; it takes place in winter; most of it is in
        French; the story begins in a hospital; it was shown at a festival; my brother chose it
    """),
)

PRODUCTS = Domain(
    wholes=phrases("""
        blender; toaster; headset; backpack; kettle; lamp; keyboard; tent; vacuum cleaner;
        mattress; phone case; raincoat; frying pan; coffee maker; desk chair; speaker; heater;
        razor; printer; umbrella
    """),
    aspects=phrases("""
        battery; handle; lid; build quality; packaging; delivery; colour; price; finish; cable;
        zip; customer service; fabric; screen; motor; manual; size; weight; switch; design
    """),
    plural_aspects=phrases("""
        buttons; straps; instructions; materials; wheels; seams; spare parts; controls; hinges;
        filters
    """),
    adjectives=MappingProxyType(
        {
            "positive": phrases("""
                comfortable; convenient; dependable; durable; easy to use; excellent; fantastic;
                first-class; flawless; generous; great; handy; ideal; impressive; nice; perfect;
                practical; reliable; robust; sleek; smooth; solid; sturdy; stylish; superb; well
                made; wonderful; amazing
            """),
            "negative": phrases("""
                awful; awkward; bad; brittle; cheaply made; crooked; defective; disappointing;
                faulty; flimsy; fragile; horrible; inconvenient; noisy; overpriced; poor; rough;
                scratched; shoddy; sloppy; stiff; terrible; uncomfortable; unreliable; useless;
                wobbly; worthless; wretched
            """),
        }
    ),
    feelings=MappingProxyType(
        {
            "positive": phrases("""
                am delighted with; am very happy with; love; am impressed by; really like; am
                fond of
            """),
            "negative": phrases("""
                am fed up with; am unhappy with; hate; am annoyed by; really dislike; am ashamed
                of
            """),
        }
    ),
    verdicts=MappingProxyType(
        {
            "positive": phrases("""
                it works like a charm; I use it every day; I ordered a second one; it does
                exactly what it should; my friends all want one; I would buy it again; five
                stars from me; it arrived early and in good order; it has never let me down; it
                made my life easier
            """),
            "negative": phrases("""
                it broke after a week; I sent it back; it stopped working at once; I asked for a
                refund; it arrived damaged; it smells of glue; one star from me; it ended up in
                the bin; it never worked properly; stay away from this brand
            """),
        }
    ),
    facts=phrases("""
        I ordered it in March; it came in a brown box; it is the medium size; I keep it in the
        kitchen; it replaced my old one; I have had it for a month; it was a present from my
        aunt; it needs two batteries; I bought it in a sale; my husband uses it too; there are
        three colours; it came with a bag; I compared four of them; the shop is in our street;
        it is made of steel
    """),
)

FOR_WHOM = phrases("""
    for families; for children; for a rainy evening; for beginners; for students; for the price;
    for people of my age; for a quiet weekend; in my opinion; to be honest; all in all; in the
    end
""")
