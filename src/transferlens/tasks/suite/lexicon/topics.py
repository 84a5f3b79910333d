"""Topics: for each, who acts, what they do and under which circumstances."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from transferlens.tasks.suite.lexicon import phrases

__all__ = ["ANYONE", "ANYTHING", "TOPICS", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """Subjects, past-tense predicates and closing circumstances of one topic."""

    subjects: tuple[str, ...]
    predicates: tuple[str, ...]
    endings: tuple[str, ...]


ANYONE = phrases("""
    a spokesman; the whole team; an old friend; the director; two experts; the winner; a
    reporter; her partner; the new leader; a group of students
""")
ANYTHING = phrases("""
    made a surprising announcement; refused to answer any questions; came late again; thanked
    everybody who had helped; promised to try once more; kept a careful record of everything;
    hoped for better luck next year; explained the plan in detail; asked for more time;
    celebrated until midnight
""")

TOPICS = MappingProxyType(
    {
        "sport": Topic(
            phrases("""
                the striker; the goalkeeper; the home side; the young sprinter; the champion;
                the referee; the coach; the tennis star; the cycling squad; the swimmer; the
                boxing federation; the captain; the visitors; the rower; the marathon runner;
                the skier
            """),
            phrases("""
                scored twice before the break; lost the final by a single point; broke the
                national record; missed a penalty; won the gold medal; trained twice a day; had
                to leave after a foul; retired with a knee injury; kept a clean sheet; took the
                lead on the last lap; signed a new contract with the club; defended the title;
                equalised in the closing minutes; dropped out of the race; qualified for the
                semi-final; served eleven aces; jumped over two metres
            """),
            phrases("""
                in front of a full stadium; after extra time; in the second half; at the world
                cup; on the wet track; in the opening match; to the delight of the fans; in the
                league; despite a bad start; after a long season
            """),
        ),
        "cooking": Topic(
            phrases("""
                the chef; the pastry cook; my grandmother; the baker; the kitchen assistant; the
                recipe; the restaurant; the apprentice; the food writer; the host; the cookery
                school; the innkeeper; the butcher; the sous-chef; the caterer
            """),
            phrases("""
                simmered the onions in butter; kneaded the dough for ten minutes; added a pinch
                of salt; roasted the potatoes until crisp; whisked the eggs with sugar; let the
                soup cool; chopped the parsley finely; melted the chocolate slowly; fried the
                mushrooms with garlic; seasoned the stew with pepper; baked a plum cake; grated
                some cheese over the pasta; boiled the rice in milk; served the fish with lemon;
                stirred the sauce all the time; marinated the chicken overnight; rolled out the
                pastry
            """),
            phrases("""
                over a low flame; in a heavy pan; for eight guests; in a hot oven; with plenty
                of herbs; from fresh ingredients; before the dessert; in a large bowl; for the
                Sunday roast; with a wooden spoon
            """),
        ),
        "science": Topic(
            phrases("""
                the astronomers; the chemist; a team of biologists; the physicist; the
                laboratory; the geologist; the space probe; the researchers; the telescope crew;
                the botanist; the professor of genetics; the institute; the doctoral student;
                the oceanographers; the zoologist
            """),
            phrases("""
                discovered a distant planet; measured the speed of the particles; examined the
                cells; published a paper on fossils; tested the new theory; found traces of
                water on a moon; mixed the two acids; observed the comet; described an unknown
                species; cooled the gas to a liquid; repeated the experiment; counted the
                bacteria; analysed the rock samples; mapped the genome; recorded the earthquake;
                proved the hypothesis wrong; detected a weak magnetic field
            """),
            phrases("""
                under the microscope; with a new instrument; in a controlled trial; after years
                of study; near the south pole; with surprising precision; in the laboratory;
                using satellite data; at a very low temperature; in a journal
            """),
        ),
        "music": Topic(
            phrases("""
                the violinist; the choir; the conductor; the jazz trio; the soprano; the rock
                band; the composer; the orchestra; the pianist; the drummer; the string quartet;
                the songwriter; the organist; the guitarist; the folk singer
            """),
            phrases("""
                played a slow waltz; sang the second verse too fast; recorded an album; tuned up
                for the overture; wrote a new symphony; practised scales for hours; missed the
                opening chord; performed an old ballad; repeated the chorus; improvised a long
                solo; rehearsed the opera; finished on a high note; changed the key; toured with
                a brass section; arranged the melody for flute; gave three encores; held the
                last note
            """),
            phrases("""
                in the concert hall; to loud applause; without sheet music; in a minor key; at
                the festival; before a silent audience; with great feeling; in perfect harmony;
                on a borrowed cello; at a quick tempo
            """),
        ),
        "business": Topic(
            phrases("""
                the bank; the car maker; the chief executive; the shareholders; the start-up;
                the retailer; the insurance company; the airline; the central bank; the trade
                union; the investor; the accountant; the board; the steel company; the stock
                exchange
            """),
            phrases("""
                raised interest rates; reported a loss; cut two hundred jobs; bought a rival
                firm; paid a higher dividend; lowered the forecast; opened a factory abroad;
                lost a large contract; borrowed ten million; closed three branches; doubled the
                profits; sold many shares; asked for a loan; cut prices; launched a new brand;
                agreed to a merger; faced rising costs
            """),
            phrases("""
                in the last quarter; because of weak demand; after months of talks; to calm the
                markets; in spite of inflation; for the first time in years; to pay old debts;
                according to the annual report; as the currency fell; to the surprise of
                analysts
            """),
        ),
        "travel": Topic(
            phrases("""
                the tourists; the hikers; the tour guide; the young couple; the backpacker; the
                cruise passengers; the hotel manager; the family from Oslo; the pilgrims; the
                travel agent; the campers; the sightseers; the holidaymakers; the cyclists on
                tour; the exchange student
            """),
            phrases("""
                missed the night train; crossed the border on foot; booked a room with a view;
                lost a passport; climbed up to the monastery; packed a light suitcase; changed
                planes twice; took a ferry to the island; slept in a mountain hut; visited the
                old harbour; waited for hours at customs; followed the coastal path; bought
                postcards and maps; rented a cabin by the sea; explored the ruins; hired a local
                driver; checked in late
            """),
            phrases("""
                at the start of the holidays; on the way to the coast; with a worn guidebook; in
                the old town; near the airport; during a two-week trip; off the beaten track; in
                the low season; before flying home; on a winding road
            """),
        ),
    }
)
