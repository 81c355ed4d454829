package defender

import "time"

// What is known of the end of the MDE and XDR APIs. A message of the Microsoft
// 365 message center, of 22 January 2026, retires both as a whole in favour of
// Microsoft Graph security, from [RetirementBegan] to [RetirementEnds]. The
// documentation says so of advanced hunting alone ("Retirement began in January
// 2026"), and for most of the rest Graph has no counterpart. So the end of
// advanced hunting is settled, that of the other endpoints is not.
const (
	// RetirementNotice is the message's number.
	RetirementNotice = "MC1220762"
	// RetirementGuide is the page that the message sends everybody to: "Use the
	// Microsoft Graph security API".
	RetirementGuide = "https://learn.microsoft.com/graph/api/resources/security-api-overview"
)

// RetirementBegan is when the retirement began, by the message: the date of a
// Deprecation header (RFC 9745 §2).
func RetirementBegan() time.Time { return time.Date(2026, time.February, 6, 0, 0, 0, 0, time.UTC) }

// RetirementEnds is the day from which the APIs no longer answer, by the message.
func RetirementEnds() time.Time { return time.Date(2027, time.February, 1, 0, 0, 0, 0, time.UTC) }

// Retirement says when the endpoint ends, the date of a Sunset header (RFC 8594
// §3), and whether that is settled: said by the documentation too, and not by
// the wording of the message alone. The zero time is that of an endpoint of
// which neither says anything.
func (e *Endpoint) Retirement() (on time.Time, settled bool) {
	switch {
	case !e.Retires.IsZero():
		return e.Retires, true
	case e.API == XDR || e.API == MDE:
		return RetirementEnds(), false
	default:
		return time.Time{}, false
	}
}
