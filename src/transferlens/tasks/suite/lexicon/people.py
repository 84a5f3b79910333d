"""People: given names with their pronouns, and people known by their trade."""

from __future__ import annotations

from transferlens.tasks.suite.lexicon import words

__all__ = ["FEMALE_NAMES", "KIN", "MALE_NAMES", "TRADES"]

FEMALE_NAMES = words("""
    Abigail Ada Agnes Alice Amina Anna Beatrice Bella Carla Carmen Cecilia Clara Dora Edith
    Elena Ella Emma Esther Eva Fatima Fiona Flora Gloria Grace Hannah Hazel Helen Ida Ingrid
    Irene Jane Joan Julia Karin Laura Leila Lena Linda Lucy Mabel Maria Martha Maya Mei Mina
    Mona Nadia Nina Nora Olga Olivia Paula Petra Priya Rita Rosa Ruth Sara Sofia Stella Susan
    Tara Tessa Vera Wanda Yasmin Zoe
""")

MALE_NAMES = words("""
    Adam Ahmed Albert Alex Andre Anton Arthur Ben Bruno Carl Chen Colin Daniel David Dennis
    Edgar Eli Emil Eric Felix Frank Fred George Gustav Harry Hassan Henry Hugo Ian Isaac Ivan
    Jack Jacob James Jonas Jorge Karl Kevin Lars Leo Liam Luis Marco Martin Max Milo Nathan Neil
    Nils Noah Oliver Omar Oscar Otto Pablo Paul Peter Rahul Ralph Robert Ryan Samir Samuel Simon
    Stefan Theo Thomas Tim Victor Walter Will Yusuf
""")

TRADES = words("""
    actor artist baker barber builder butcher carpenter clerk coach cook dancer dentist doctor
    driver editor engineer farmer fisherman gardener grocer guard guide hunter inspector janitor
    jeweller judge lawyer librarian manager mayor mechanic merchant miner musician neighbour
    nurse officer painter pianist pilot plumber poet postman priest printer sailor scientist
    secretary shepherd singer soldier student surgeon tailor teacher tourist visitor waiter
    weaver
""")

KIN = words("aunt brother cousin father friend grandfather grandmother mother sister uncle")
