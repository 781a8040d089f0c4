"""What a person does to people: suppress a number, let it be called again, erase a person."""

from bridge.access import current_name, note_act
from bridge.operations.base import Base
from schemas.access import Action
from store.erasure import Erased, Eraser
from store.suppression import Suppressed, Suppressions

SUPPRESSION = "suppression"  # in the audit, its id is the keyed hash of the number


class PeopleOperations(Base):
    """Operations on numbers and the people behind them."""

    __slots__ = ()

    def suppress(self, number: str, *, message: str = "") -> Suppressed:
        """Suppress a number (E.164) from now on, and cancel its planned calls."""
        done = self._suppress(number, message)
        note_act(Action.SUPPRESS, SUPPRESSION, done.suppression.key)
        self.wake()
        return done

    def suppress_one_of_many(self, number: str, *, message: str = "") -> bool:
        """Suppress a number of a list. Returns whether it is new. end_import() comes after all."""
        return self._suppress(number, message).is_new

    def end_import(self, new: int) -> None:
        """Keep in the audit that a list was imported, which suppressed so many new numbers."""
        note_act(Action.IMPORT, SUPPRESSION, count=new)
        self.wake()

    def unsuppress(self, key: str) -> None:
        """Delete a suppression by its keyed hash. Raises NotFound."""
        Suppressions(store=self.store).unsuppress(key)
        note_act(Action.UNSUPPRESS, SUPPRESSION, key)

    def unsuppress_number(self, number: str) -> str:
        """Delete the suppression of a number (E.164). Returns its keyed hash. Raises NotFound."""
        Suppressions(store=self.store).unsuppress_number(number)
        key = self.store.phone_key(number)
        note_act(Action.UNSUPPRESS, SUPPRESSION, key)
        return key

    def erase(self, number: str) -> Erased:
        """Erase the person of a number (E.164)."""
        done = Eraser(store=self.store).erase(number, actor=current_name())
        note_act(Action.ERASE, SUPPRESSION, self.store.phone_key(number))
        self.wake()
        return done

    def _suppress(self, number: str, message: str) -> Suppressed:
        people = Suppressions(store=self.store)
        return people.suppress(number, message=message, actor=current_name())
