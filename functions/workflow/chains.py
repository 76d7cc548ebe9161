"""Define the workflows. This is the only file to edit; see docs/workflows.md.

A workflow is a function that builds a LangChain runnable, and a pydantic model of its input. After a change of names or
inputs run `make workflows`, which updates the API's list of workflows.
"""

from typing import Annotated, Final

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from pydantic import BaseModel, ConfigDict, Field

from functions.workflow.workflow import Chain, Chat, Workflow

type Text = Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"\S")]
type Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


class Topic(BaseModel):
    """What `story` takes."""

    model_config = ConfigDict(extra="forbid")

    topic: Line


def story(chat: Chat) -> Chain:
    """Write a short story about a topic."""
    prompt = ChatPromptTemplate.from_template("Write a short story about {topic}.")
    return prompt | chat() | StrOutputParser()


class Articles(BaseModel):
    """What `summarize_articles` takes."""

    model_config = ConfigDict(extra="forbid")

    articles: list[Text] = Field(min_length=1, max_length=20)


def summarize_articles(chat: Chat) -> Chain:
    """Summarize each of several articles, side by side, and then all of them together."""
    each = (
        ChatPromptTemplate.from_template("Summarize this article in three sentences.\n\n{article}")
        | chat()
        | StrOutputParser()
    )
    together = (
        ChatPromptTemplate.from_template("Write one paragraph of what these summaries say together.\n\n{summaries}")
        | chat()
        | StrOutputParser()
    )
    return (
        RunnablePassthrough.assign(parts=lambda given: [{"article": text} for text in given["articles"]])
        | (lambda given: given["parts"])
        | each.map()
        | (lambda summaries: {"summaries": "\n\n".join(summaries)})
        | together
    )


class Translation(BaseModel):
    """What `translate_and_review` takes."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    language: Line = Field(description="The language to translate into, as in German")


def translate_and_review(chat: Chat) -> Chain:
    """Translate a text, and have the translation reviewed and mended."""
    translate = (
        ChatPromptTemplate.from_template("Translate this text into {language}.\n\n{text}") | chat() | StrOutputParser()
    )
    review = (
        ChatPromptTemplate.from_template(
            "Here is a text and its translation into {language}. Mend what is wrong or stiff in the translation, and "
            "answer with nothing but the mended translation.\n\nText:\n{text}\n\nTranslation:\n{translation}"
        )
        | chat()
        | StrOutputParser()
    )
    return RunnablePassthrough.assign(translation=translate) | review


WORKFLOWS: Final = (
    Workflow("story", Topic, story),
    Workflow("summarize_articles", Articles, summarize_articles, steps=lambda given: len(given.articles) + 1),
    Workflow("translate_and_review", Translation, translate_and_review, steps=lambda _: 2),
)
