"""Invented people, so that the CRMs are not empty when the simulator starts.

Nobody here exists. The Indian numbers follow the sample in CallKaro's own documentation, the
American one lies in the range kept free for fiction.
"""

from __future__ import annotations

from typing import Any


def demo_records() -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return records by (CRM, object) and id."""
    return {
        ("hubspot", "contacts"): {
            "101": _contact("Asha", "Example", phone="+91 98765 43210", city="Bengaluru"),
            # As people type it, without the country.
            "102": _contact("Vikram", "Sample", mobilephone="098765 43211", city="Pune"),
            "103": _contact("Meera", "Nophone", city="Kochi"),
            "104": _contact(
                "Pat", "Specimen", phone="+1 202-555-0143", city="Washington", country="US"
            ),
            "105": _contact(
                "Ravi", "Optout", phone="+91 98765 43212", city="Chennai", call_consent="no"
            ),
        },
        ("zoho", "Leads"): {
            "5725767000000411001": _lead("Kiran", "Example", Phone="+91 98765 43213", City="Delhi"),
            "5725767000000411002": _lead("Divya", "Sample", Mobile="9876543214", City="Mumbai"),
            "5725767000000411003": _lead("Arjun", "Nophone", City="Jaipur"),
        },
        ("gohighlevel", "contacts"): {
            "contactsample00000001": {
                "firstName": "Nisha",
                "lastName": "Example",
                "phone": "+919876543217",
                "additionalPhones": [{"phone": "+919876543218"}],
                "email": "nisha.example@example.com",
                "city": "Kolkata",
            },
        },
        ("zoho", "Contacts"): {
            "5725767000000422001": {
                "First_Name": "Leela",
                "Last_Name": "Example",
                "Phone": "+91 98765 43215",
                "Email": "leela.example@example.com",
                "Mailing_City": "Hyderabad",
            },
        },
        ("meta", "leads"): {
            "3100200300400501": _answers("Nisha", "Example", phone_number="+919876543216"),
            # As Meta's exports write a number.
            "3100200300400502": _answers("Imran", "Sample", phone_number="p:+919876543217"),
            "3100200300400503": _answers("Tara", "Nophone", city="Surat"),
        },
        ("pipedrive", "persons"): {
            "101": {
                "name": "Nisha Example",
                "phones": [{"label": "work", "value": "+91 98765 43216", "primary": True}],
                "emails": [
                    {"label": "work", "value": "nisha.example@example.com", "primary": True}
                ],
            },
            "102": {"name": "Rohan Nophone"},
        },
        ("close", "lead"): {"lead_sample1": {"name": "Example Traders"}},
        ("close", "contact"): {
            "cont_sample1": {
                "name": "Tara Example",
                "lead_id": "lead_sample1",
                "phones": [{"phone": "+919876543217", "type": "mobile", "country": "IN"}],
            },
        },
    }


def _contact(firstname: str, lastname: str, **properties: str) -> dict[str, Any]:
    return {
        "firstname": firstname,
        "lastname": lastname,
        "email": f"{firstname}.{lastname}@example.com".lower(),
        "lifecyclestage": "lead",
        "country": "IN",
        "call_consent": "yes",
        "hs_language": "en",
        **properties,
    }


def _lead(first_name: str, last_name: str, **fields: str) -> dict[str, Any]:
    return {
        "First_Name": first_name,
        "Last_Name": last_name,
        "Email": f"{first_name}.{last_name}@example.com".lower(),
        "Lead_Status": "Not Contacted",
        "Lead_Source": "Web form",
        "Country": "IN",
        **fields,
    }


def _answers(first_name: str, last_name: str, **answers: str) -> dict[str, Any]:
    given = {
        "full_name": f"{first_name} {last_name}",
        "email": f"{first_name}.{last_name}@example.com".lower(),
        **answers,
    }
    return {
        "platform": "ig",
        "field_data": [{"name": name, "values": [value]} for name, value in given.items()],
    }
