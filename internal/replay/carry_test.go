package replay

import (
	"fmt"
	"testing"
)

// What is carried stands by itself where it is replaced, is encoded in targets, and goes on from the answer that has it only.
func TestCarrier(t *testing.T) {
	rule, err := ParseCarry("text:is (.*)")
	if err != nil {
		t.Fatal(err)
	}
	c := newCarrier([]Carry{rule})
	item := func(value string, start int64) *Item {
		return &Item{Start: start, Duration: 10, Answered: true, Answer: *answerOf(200, "Set-Cookie: sid="+value+"; Path=/", "it is "+value)}
	}
	hidden := "…[redacted 15 #4f2a]"
	pairs := [][2]string{{"abc/1", "x y/2"}, {"abc", "&"}, {hidden, "a=b"}, {"plain", "gone"}, {"a", "too short"}}
	for i, p := range pairs {
		it := item(p[0], int64(i)*100)
		c.expect(it)
		later := &Item{Start: it.End(), Target: "/" + p[0]}
		if got := len(c.awaited(later)); got != 1 && len(p[0]) > 1 {
			t.Errorf("%s: %d values are awaited", p[0], got)
		}
		if c.gives("", p[0], it.End()-1) || len(p[0]) > 1 && !c.gives("sid", p[0], it.End()) {
			t.Errorf("%s is given at the wrong time", p[0])
		}
		now := answerOf(200, "Set-Cookie: sid=new-"+p[1], "it is "+p[1])
		if p[1] == "gone" {
			now = answerOf(200, "", "it isn't")
		}
		c.settle(it, now)
		if len(c.awaited(later)) != 0 {
			t.Errorf("%s: is awaited though it has come", p[0])
		}
	}
	for _, x := range [][2]string{
		{c.text("Bearer abc/1"), "Bearer x y/2"}, {c.text("abc"), "&"}, {c.text("abcd xabc abc_"), "abcd xabc abc_"}, {c.text("(abc)"), "(&)"}, {c.text("plain"), "plain"},
		{c.target("/a?t=abc%2F1&u=abc"), "/a?t=x%20y%2F2&u=%26"}, {c.target("/" + hidden), "/a%3Db"}, {c.text("x=abc%2F1"), "x=x%20y%2F2"}, {c.text(hidden), "a=b"}, {c.text("a"), "a"},
		{c.cookies("sid=abc; other=abc; b=c"), "sid=new-&; other=&; b=c"}, {c.cookies("sid=" + hidden), "sid=new-a=b"}, {c.cookies("sid=unknown"), "sid=unknown"},
	} {
		if x[0] != x[1] {
			t.Errorf("%q, want %q", x[0], x[1])
		}
	}
	// There are limits.
	c = newCarrier(nil)
	for i := range MaxCarried + 5 {
		c.expect(item(fmt.Sprintf("v%d", i), 0))
	}
	if c.refused != 5 {
		t.Errorf("%d values were refused", c.refused)
	}
}
