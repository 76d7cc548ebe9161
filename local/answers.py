"""The texts of the stand-in model: the same prompt always gets the same answer."""

import hashlib
import re

# Keywords of a topic, in any case, and the answers for it.
_TOPICS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("econom", "inflation", "market", "bank", "money"),
        (
            (
                "An economist was asked to predict the next recession. He wrote down a date, sealed it in an "
                "envelope, and charged for the envelope. When nothing happened on that day he explained that the "
                "forecast had been perfectly right; it was the economy that had failed to read it."
            ),
            (
                "I asked my savings account how it was feeling about inflation. It said it was fine, really, it "
                "just wasn't itself lately. A bit less of itself every month, in fact. I told it that interest "
                "would help, and it laughed so hard that it lost another two per cent."
            ),
            (
                "Two economists find a ten euro note on the pavement. The first one says it can't be real, or "
                "somebody would have picked it up already. The second one agrees, and they walk on to their "
                "lecture on the efficiency of markets, where a student pays for the coffee with it."
            ),
        ),
    ),
    (
        ("animal", "dog", "cat", "bird", "pet"),
        (
            (
                "A cat and a dog apply for the same job. The dog says that it is loyal, works weekends and loves "
                "everybody in the company. The cat pushes the contract off the table, sits down on the keyboard, "
                "and is at once made head of strategy."
            ),
            (
                "The owl opened a night school in the forest. The bat came for the flying, the hedgehog for the "
                "company, and the sloth signed up three years ago and is expected to arrive on Thursday. "
                "Attendance is still better than at the meeting of the mayflies, who never manage a second one."
            ),
            (
                "A parrot was sold at half price because it only repeated what the other parrots said. Its new "
                "owner was delighted. It answers all his mail now, sits in on four committees, and nobody has "
                "noticed for a year."
            ),
        ),
    ),
    (
        ("plant", "tree", "flower", "garden", "cactus"),
        (
            (
                "My cactus and I have an understanding: I forget to water it, and it forgets to die. Last week I "
                "remembered. It took one sip, looked at me with deep suspicion, and has been asking ever since "
                "what I want from it."
            ),
            (
                "A young oak asked the old one what the secret of a long life was. The old oak thought about it "
                "for eighty years and said: don't stand where they plan a car park. The young oak said that this "
                "was hard to arrange. The old oak said that yes, that was the secret."
            ),
            (
                "The ivy told the wall that it was only leaning on it for a moment. Forty years later the wall "
                "said that it was beginning to feel used. Nonsense, said the ivy, without me you'd go to pieces. "
                "And it was right, which is what made the wall so angry."
            ),
        ),
    ),
    (
        ("food", "cook", "eat", "bread", "cheese", "restaurant"),
        (
            (
                "A sourdough starter walks into a bar. The barman says that it can stay, but that it will have to "
                "be fed every twelve hours. That is what everyone says at first, answers the starter. By spring "
                "it owned the bar, two flats and most of the barman."
            ),
            (
                "I ordered a soup of the day and asked which day. The waiter said that this was the kitchen's "
                "business. It came with a spoon, a date and an apology, and two of the three were from last "
                "Tuesday."
            ),
            (
                "The cheese and the wine went to couples therapy. The cheese said that the wine never opened up, "
                "and the wine said that the cheese had been getting older without getting any milder. The "
                "therapist ordered crackers, which held the whole thing together."
            ),
        ),
    ),
)

_GENERAL = (
    "It depends on what you want to be certain of.",
    "Start with the part that would be most expensive to get wrong, and look at it before anything else.",
    "Most of the difficulty is in the first version, because that is where the questions are found.",
    "A small example says more than a long explanation, so write one down and follow it by hand.",
    "Where two sources disagree, the newer one is not always the better one; ask which of them was measured.",
    "It helps to say what would change your mind, and then to go and look for exactly that.",
    "Numbers without a unit are opinions, and a unit without a date is history.",
    "If the answer has to be right tomorrow as well, leave a note for the person who will ask again.",
    "The simple arrangement usually wins, not because it is clever but because people can repair it.",
    "What is left over at the end is normally the interesting part.",
    "So the short answer is yes, with the reservation that it should be tried on a quiet day first.",
    "Everything else is a matter of taste, and taste is best settled over lunch.",
)


def prompt_digest(prompt: str) -> str:
    """Return an ID of a prompt that does not reveal it: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answer_words(prompt: str, words: int | None) -> list[str]:
    """Return the answer to a prompt as pieces of one word with the space before it; exactly `words` pieces if given."""
    number = int(prompt_digest(prompt), 16)
    if words is None:
        lowered = prompt.lower()
        for keys, jokes in _TOPICS:
            if any(key in lowered for key in keys):
                return _pieces(jokes[number % len(jokes)])
        words = 60
    text: list[str] = []
    while len(text) < words:
        text += _GENERAL[number % len(_GENERAL)].split()
        # 5 and 12 have no common divisor, so every sentence is used.
        number += 5
    return _pieces(" ".join(text[:words]))


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)
