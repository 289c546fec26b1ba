from menu import dishes


def test_dishes_keep_their_order():
    assert dishes("soup: 4.5\nbread: 1\n") == ["soup: 4.50", "bread: 1.00"]
